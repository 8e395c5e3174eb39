package file_test

import (
	"fmt"
	"os"
	"path/filepath"

	"crossfade.dev/internal/source/file"
)

func ExampleLoad() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	const model = `apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata:
  name: chat
spec:
  modelName: chat
  poolRef:
    name: pool
  targetModels:
  - name: chat-v1
    weight: 90
  - name: chat-v2
`
	if err := os.WriteFile(filepath.Join(dir, "model.yaml"), []byte(model), 0o644); err != nil {
		panic(err)
	}

	update, err := file.Load([]string{dir})
	if err != nil {
		panic(err)
	}
	for _, p := range update.Problems {
		fmt.Println(filepath.Base(p.Origin))
		fmt.Println(p.Field)
		fmt.Println(p.Message)
		fmt.Println(p.Remedy)
	}
	// Output:
	// model.yaml:9
	// spec.targetModels
	// weight must be set on all target models or on none
	// give every target model a weight, or none
}
