package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/remora-ha/remora/topology"
)

var clusterPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// check says why a document must not be published.
func check(d topology.Document) error {
	switch {
	case d.Cluster == "":
		return errors.New("the document names no cluster")
	case !clusterPattern.MatchString(d.Cluster):
		return fmt.Errorf("cluster %q cannot be part of a key", d.Cluster)
	case d.Epoch == 0:
		return fmt.Errorf("the document of %s has no epoch", d.Cluster)
	case d.Writer != nil && d.Mode != topology.Open:
		return fmt.Errorf("the document of %s has a writer while it is %s", d.Cluster, d.Mode)
	case d.Writer != nil && (d.Primary == nil || d.Writer.Address != d.Primary.Address):
		return fmt.Errorf("the document of %s has writer %s, which is not its primary", d.Cluster, d.Writer.Address)
	}
	return nil
}

// encode is the document's value in the store.
func encode(d topology.Document) string {
	if d.Readers == nil {
		d.Readers = []topology.Endpoint{} // templates range over it
	}
	text, err := json.Marshal(d)
	if err != nil { // a time beyond the year 9999, which only code can make
		panic(fmt.Sprintf("consul: encode a document: %v", err))
	}
	return string(text)
}

// decode reads a stored document; ok is false for what is none.
func decode(value string) (d topology.Document, ok bool) {
	if err := json.Unmarshal([]byte(value), &d); err != nil || d.Version == 0 {
		return topology.Document{}, false
	}
	return d, true
}

// sameBut says whether a stored value is d, but for the time.
func sameBut(d topology.Document, value string) bool {
	stored, ok := decode(value)
	d.Time = stored.Time
	return ok && encode(d) == value
}
