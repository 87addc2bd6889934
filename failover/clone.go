package failover

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// CloneOrder is what a clone command is told.
type CloneOrder struct {
	Cluster                  string
	Instance, Donor, Primary topology.Addr
}

// values are the placeholders of a clone command with their values. None needs
// quoting: an address holds nothing that a shell reads otherwise.
func (o CloneOrder) values() map[string]string {
	v := map[string]string{"cluster": o.Cluster}
	for name, a := range map[string]topology.Addr{"instance": o.Instance, "donor": o.Donor, "primary": o.Primary} {
		v[name], v[name+"Host"], v[name+"Port"] = string(a), a.Host(), strconv.Itoa(a.Port())
	}
	return v
}

// Expand replaces the placeholders of a clone command.
func (o CloneOrder) Expand(command string) string {
	for name, value := range o.values() {
		command = strings.ReplaceAll(command, "{"+name+"}", value)
	}
	return command
}

// Environment is the same as REMORA_INSTANCE_HOST=… and so on.
func (o CloneOrder) Environment() []string {
	var env []string
	for name, value := range o.values() {
		upper := regexp.MustCompile(`[A-Z]`).ReplaceAllString(name, "_$0")
		env = append(env, "REMORA_"+strings.ToUpper(upper)+"="+value)
	}
	slices.Sort(env)
	return env
}

var clonePlaceholder = regexp.MustCompile(`(^|[^$])\{([A-Za-z]+)\}`)

func (c *ClonePolicy) validate(bad func(key string, value any, allowed string)) {
	if c.Timeout <= 0 {
		bad("clone.timeout", c.Timeout, "more than 0s")
	}
	known := CloneOrder{}.values()
	for _, m := range clonePlaceholder.FindAllStringSubmatch(c.Command, -1) {
		if _, ok := known[m[2]]; !ok {
			bad("clone.command", fmt.Sprintf("{%s}", m[2]), "one of {cluster} {instance} {instanceHost} {instancePort}, and the same of {donor} and {primary}")
		}
	}
}
