package api

import (
	"net/http"
	"strings"
	"testing"
)

func TestAWebPageOfAnotherOriginIsRefused(t *testing.T) {
	n := leading()
	at := serve(t, n, "")
	for site, want := range map[string]int{"cross-site": http.StatusForbidden, "same-origin": http.StatusNoContent, "": http.StatusNoContent} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at.URL+"/v1/clusters/main/acknowledge", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if site != "" {
			req.Header.Set("Sec-Fetch-Site", site)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if asked := n.was(); res.StatusCode != want || (want == http.StatusForbidden) != (len(asked) == 0) {
			t.Errorf("%q gets %d, and the node was asked %v", site, res.StatusCode, asked)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
