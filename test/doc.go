// Package test drives the whole gateway in one process: objects from files,
// simulated model servers, real HTTP over loopback. The tests here are about what
// users see; what a part does is tested beside it.
package test
