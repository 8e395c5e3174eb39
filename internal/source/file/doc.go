// Package file is the source that reads Kubernetes objects from YAML and JSON
// files, treats them as an API server would and watches them for changes.
//
// From a path to an Update it goes in seven steps:
//
//  1. walk.go finds the files: paths in the order given, folders recursively and
//     in lexical order. Names that start with a dot are skipped; links are
//     followed, each file and folder once.
//  2. scan.go reads the files that changed since the last time, once they have been
//     left alone for a moment. A file that does not parse, or cannot be read, keeps
//     its last good content.
//  3. split.go cuts a file into documents and yaml.go turns each into a JSON
//     value, the way kubectl does (YAML 1.1 scalars, the last of two equal keys).
//  4. decode.go finds the kind of each document and checks its metadata. custom.go
//     takes kinds with a CRD (api/crd) through the API server's own stages:
//     unknown fields, defaults, OpenAPI schema, list types, CEL rules. builtin.go
//     decodes the kinds of Kubernetes itself, and checks.go holds the checks of
//     these that a person needs.
//  5. merge.go folds documents into objects. Of one object the last document
//     counts; where it is not valid, the object's last good form stays. An
//     object's age is the place of its first document: what stands first is
//     oldest, whatever the file's own times are.
//  6. pods.go gives Deployments, StatefulSets and ReplicaSets the pods that their
//     controllers would create.
//  7. watch.go waits for the next change, by file system events and, slowly, by
//     polling; run.go publishes an Update when one changed anything.
//
// Every problem found on the way names the place, the object, the field and a
// remedy, never a value: a value may be a secret. Nothing a file can contain stops
// the others from being read; limits.go says how much of it is read.
package file
