package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/remora-ha/remora/failover"
)

func TestReadCaseNamesFileAndField(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"not JSON":        {"{\n\n\"version\": ,}", "case.json:3: "},
		"cut off":         {`{"version": 1`, "case.json:1: unexpected end"},
		"no object":       {`[]`, "case.json: "},
		"no version":      {`{}`, "no field \"version\""},
		"other version":   {`{"version": 9, "bogus": 1}`, "the document has version 9, and this remora reads version 1"},
		"unknown field":   {`{"version": 1, "snapshot": {"clutser": "main"}}`, "case.json: field snapshot.clutser is not known here; known are cluster, files, instances,"},
		"all at once":     {`{"version": 1, "a": 1, "b": 2}`, "case.json: field b is not known here"},
		"wrong kind":      {`{"version": 1, "snapshot": {"cluster": 7}}`, "field snapshot.cluster is 7; want a string"},
		"deep":            {`{"version": 1, "snapshot": {"instances": [{"views": [{"failures": "x"}]}]}}`, `field snapshot.instances[0].views[0].failures is "x"; want a whole number`},
		"no list":         {`{"version": 1, "snapshot": {"instances": {}}}`, "field snapshot.instances is {}; want a list"},
		"no object below": {`{"version": 1, "policy": {"lag": 3}}`, "policy.lag is 3; want an object"},
		"bad duration":    {`{"version": 1, "policy": {"anti_flap": "soon"}}`, `field policy.anti_flap: "soon" is not a duration`},
		"number for text": {`{"version": 1, "policy": {"anti_flap": 3}}`, `field policy.anti_flap is 3; want a string`},
		"bad address":     {`{"version": 1, "snapshot": {"route": {"writer": "a:b:c"}}}`, "field snapshot.route.writer: address"},
		"bad set":         {`{"version": 1, "snapshot": {"instances": [{"state": {"executed": "???"}}]}}`, "field snapshot.instances[0].state.executed: "},
		"bad time":        {`{"version": 1, "snapshot": {"taken": "noon"}}`, "field snapshot.taken: "},
		"negative epoch":  {`{"version": 1, "snapshot": {"route": {"epoch": -1}}}`, "field snapshot.route.epoch is -1; want a number that is not negative"},
		"more after it":   {`{"version": 1} x`, "case.json:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readCase("case.json", []byte(c.doc))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want it to hold %q", err, c.want)
			}
		})
	}
}

// Whatever a case may hold, the check knows its fields as encoding/json does.
func TestReadCaseTakesWhatIsWritten(t *testing.T) {
	node := leading()
	want, _ := node.Snapshot("main")
	in, last := switchedOver().Intent, failedOver()
	want.Intent, want.Last = &in, &last
	want.Request = &failover.Request{ID: "x", Kind: failover.KindSwitchover, Timeout: ms(10)}
	want.Downtime = []failover.Downtime{{Instance: "b:3306", Until: noon}}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readCase("case.json", raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Request, want.Request) || got.Intent.To != want.Intent.To || len(got.Last.Steps) != len(last.Steps) {
		t.Errorf("read %+v", got)
	}
}

func FuzzReadCase(f *testing.F) {
	f.Add([]byte(`{"version": 1, "snapshot": {"cluster": "main"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := readCase("case.json", raw)
		if err == nil && c.Version != failover.CaseVersion {
			t.Errorf("version %d was read", c.Version)
		}
	})
}
