// Package api is Remora's HTTP interface under /v1: the wire types, the server's
// routes, and the client that the command line and the other sidecars use.
//
// A follower forwards what only the leader can answer. Errors are JSON,
// {"error": "sentence"}, with a status code that means something: 400 for a bad
// request, 401 for a wrong token, 404 for an unknown cluster or recovery, 409
// for a refusal, 503 when no leader can be reached.
package api
