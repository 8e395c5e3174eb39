// Package source delivers the input objects of translation and takes statuses
// back. Its bodies are source/file (YAML files) and, later, source/kube.
package source

import (
	"context"

	"crossfade.dev/internal/translate"
)

// Update is one complete picture of a source's objects.
type Update struct {
	Resources *translate.Resources
	// Problems are what the source itself found: files that do not parse,
	// objects that fail their schema, kinds it does not know. The objects
	// concerned are absent from Resources, or present in their last good form.
	// Their Origin says where; a problem of a file as a whole has a Ref of kind
	// "File" and the file's path as name.
	Problems []translate.Problem
	// Origins says where each object came from ("path:line"), pods that a
	// Deployment stands for included.
	Origins map[translate.ObjectRef]string
}

// Source delivers updates until its context ends.
type Source interface {
	// Run calls publish with each complete picture, the first one as soon as it
	// is known, from one goroutine, never concurrently. It returns when ctx ends
	// (nil) or when it can never deliver anything.
	Run(ctx context.Context, publish func(Update)) error
}
