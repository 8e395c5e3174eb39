// Package translate is a pure function from Resources to a routing.Snapshot,
// statuses and problems.
package translate
