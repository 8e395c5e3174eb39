// Package kube is the body of a source on Kubernetes: it delivers an API server's
// objects, and writes back statuses and the objects of data planes. It is the only
// package that knows Kubernetes' client libraries.
//
// Objects come in like this:
//
//  1. catalog.go lists the kinds that are read. Base kinds, such as HTTPRoute, are
//     watched in all namespaces; demand.go says, as a pure function of those, what
//     else is: pods where pools are, Services where routes name one, and just the
//     Secrets that Gateways may use.
//  2. source.go keeps a watch for each of these. absent.go and discovery.go leave
//     out kinds that the API server does not serve, and notice when they come.
//  3. watch.go lists and watches, through client-go's reflector, and sorts what
//     goes wrong: a right that is missing is a problem to report, an API server
//     that is away is waited for with all that was known kept.
//  4. store.go holds what a watch found. decode.go makes typed objects, and strip.go
//     removes what translation does not read, so that a change of it is none.
//  5. When things are quiet and every watch has begun, source.go publishes all
//     objects together. They are shared and never change.
package kube
