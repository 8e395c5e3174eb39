// Package admin is the gateway's side door: health, Prometheus metrics, and JSON
// and text views of what the gateway runs on and found out. It reads values it is
// given and decides nothing. It listens on loopback unless told otherwise, since
// it has no authentication of its own.
package admin
