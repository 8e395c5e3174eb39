package main

import (
	"bytes"
	"errors"
	"slices"

	"go.yaml.in/yaml/v3"
)

// strip returns the CustomResourceDefinition in raw without descriptions,
// comments and status. Keys keep their order.
func strip(raw []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("not a single object")
	}
	root := doc.Content[0]
	remove(root, func(key string, _ *yaml.Node) bool { return key == "status" })
	stripNode(root, false)

	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(root); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}

// stripNode removes descriptions below n. In the value of a schema's properties
// keys are names of fields, so a field called description survives.
func stripNode(n *yaml.Node, names bool) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	if n.Kind == yaml.MappingNode && !names {
		remove(n, func(key string, value *yaml.Node) bool {
			return key == "description" && value.Kind == yaml.ScalarNode
		})
	}
	for i, child := range n.Content {
		isProperties := n.Kind == yaml.MappingNode && !names && i%2 == 1 && n.Content[i-1].Value == "properties"
		stripNode(child, isProperties)
	}
}

// remove deletes the entries of a mapping that drop says.
func remove(n *yaml.Node, drop func(key string, value *yaml.Node) bool) {
	for i := 0; i < len(n.Content); {
		if drop(n.Content[i].Value, n.Content[i+1]) {
			n.Content = slices.Delete(n.Content, i, i+2)
			continue
		}
		i += 2
	}
}
