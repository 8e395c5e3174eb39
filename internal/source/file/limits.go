package file

// Limits of what is read. They are far above what anyone writes by hand and keep
// a mistaken path, or a hostile file, from taking the process down.
const (
	maxFileSize     = 8 << 20 // bytes of one file
	maxDocumentSize = 3 << 20 // bytes of one document, as much as an API server takes
	maxExpansion    = 8 << 20 // bytes of one document once its YAML aliases are replaced
	maxNesting      = 100     // fields and lists inside each other
	maxDocuments    = 5_000   // documents of one file, items of Lists included
	maxObjects      = 20_000  // documents of all files
	maxFiles        = 5_000   // files read
	maxEntries      = 100_000 // names looked at in folders
	maxDepth        = 32      // folders inside each other

	maxReplicas = 256   // pods of one Deployment, StatefulSet or ReplicaSet
	maxPods     = 4_096 // pods of all of them

	maxDocumentProblems = 20    // problems reported of one document
	maxProblems         = 1_000 // problems reported in all
)
