package sidecar

import (
	"strings"
	"testing"
)

func TestStoresAndTemplatesAreChecked(t *testing.T) {
	const east = `consul: [{name: east, addresses: ["127.0.0.1:8500"]}]` + "\n"
	for text, want := range map[string]string{
		`consul: [{name: east}]` + "\n" + `templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: /f}]`:                                     "consul[0].addresses: give at least one agent",
		`consul: [{name: east, addresses: ["ftp://x"]}]`:                                                                                             "consul[0].addresses[0]: ",
		`consul: [{name: a, addresses: ["h:1"]}, {name: a, addresses: ["h:2"]}]`:                                                                     `"a" is already the name of consul[0]`,
		`consul: [{addresses: ["h:1"], timeout: 1ms}]`:                                                                                               "consul[0].timeout: 1ms is too short",
		`consul: [{addresses: ["h:1"], tls: {ca: /none/ca.pem}}]`:                                                                                    "consul[0].tls.ca: stat /none/ca.pem",
		`consul: [{addresses: ["h:1"], token: {env: REMORA_NO_SUCH_TOKEN}}]`:                                                                         "environment variable REMORA_NO_SUCH_TOKEN is not set",
		`templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: /f}]`:                                                                       "there is no Consul to render from",
		east + `templates: [{source: "embedded:none", destination: /f}]`:                                                                             "templates[0].source: ",
		east + `templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: f}]`:                                                                 `templates[0].destination: "f" is not an absolute path`,
		east + `templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: /f, haproxy_socket: "unix:///x"}]`:                                   `templates[0].haproxy_socket: "unix:///x" is not an absolute path`,
		east + `templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: /f, permissions: "rw"}]`:                                             `templates[0].permissions: "rw"; give octal digits`,
		east + `templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: /f, consul: west}]`:                                                  `"west" is none of consul's names`,
		east + `templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: /d/f}, {source: "embedded:proxysql.cnf.ctmpl", destination: /d//f}]`: "/d//f is already written by templates[0]",
		`consul: [{addresses: ["h:1"], datacenter: dc2}]` + "\n" + `templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: /f}]`:            "which consul-template cannot ask for",
	} {
		_, err := ParseConfig("r.yaml", []byte(minimal+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n gives %v\n want %s", text, err, want)
		}
	}
	cfg := parse(t, minimal+east+`templates: [{source: "embedded:haproxy.cfg.ctmpl", destination: /f}]`+"\n")
	if c := cfg.Consul[0]; c.Prefix != "mysql/master" || c.Timeout == 0 || c.Wait == 0 || cfg.Templates[0].CheckTimeout == 0 {
		t.Errorf("what is left out is not completed: %+v, %+v", c, cfg.Templates[0])
	}
}
