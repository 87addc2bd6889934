// Package scale measures what large fleets cost: thousands of simulated instances (internal/lab/endpoints) in this
// process, and real sidecars as processes of their own, which find, watch and repair them.
//
// Watch measures the cost at rest, and how long a death takes to be found. Rack lets many clusters lose their primaries in
// one instant, and asks every proxy itself when each is routed again. What the sidecars use is read from /proc, and what
// travels is counted by the endpoints: of the sidecars only their API is asked.
//
// The endpoints and this process share the machine with the sidecars; their own share is reported beside the sidecars'.
package scale
