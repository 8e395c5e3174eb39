package file

import (
	"bytes"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// lines finds the lines of a document's fields.
type lines struct {
	path  string
	chunk chunk
	item  []int // index into items, for a document inside a List
	tree  *tree // shared by the items of a List
}

// tree is the text of a document as nodes that know their lines. It is parsed when
// first asked for, since most documents have no problems.
type tree struct {
	root  *yamlv3.Node // nil when the text does not parse
	tried bool
}

func newLines(path string, c chunk) *lines {
	return &lines{path: path, chunk: c, tree: &tree{}}
}

// itemAt returns the lines of the i-th item of a List.
func (l *lines) itemAt(i int) *lines {
	item := *l
	item.item = append(l.item[:len(l.item):len(l.item)], i)
	return &item
}

// at returns the place of a field such as spec.rules[0].matches, or of the nearest
// object or list around it that the document has; "" is the document itself.
func (l *lines) at(field string) place {
	p := place{l.path, l.chunk.line}
	if field == "" && l.item == nil {
		return p
	}
	root := l.root()
	if root == nil {
		return p
	}
	if line := find(root, splitField(field)); line > 0 {
		p.line = l.chunk.before + line
	}
	return p
}

// within returns the place of a line that a parser counted inside the document.
func (l *lines) within(line int) place {
	if line <= 0 {
		return place{l.path, l.chunk.line}
	}
	return place{l.path, l.chunk.before + line}
}

// root returns the document's node, nil when there is none.
func (l *lines) root() *yamlv3.Node {
	n := l.tree.parse(l.chunk.text)
	for _, i := range l.item {
		items := resolve(child(resolve(n), "items"))
		if items == nil || items.Kind != yamlv3.SequenceNode || i >= len(items.Content) {
			return nil
		}
		n = items.Content[i]
	}
	return n
}

func (t *tree) parse(text []byte) *yamlv3.Node {
	if t.tried {
		return t.root
	}
	t.tried = true
	var doc yamlv3.Node
	// Tabs are for JSON, where they can only stand between values.
	text = bytes.ReplaceAll(text, []byte("\t"), []byte(" "))
	if err := yamlv3.Unmarshal(text, &doc); err == nil && len(doc.Content) > 0 {
		t.root = doc.Content[0]
	}
	return t.root
}

// splitField cuts a path at its dots and brackets: a.b[0][c.d] is a, b, 0, c.d.
func splitField(field string) []string {
	var out []string
	for field != "" {
		switch field[0] {
		case '.':
			field = field[1:]
			continue
		case '[':
			key, rest, _ := strings.Cut(field[1:], "]")
			out = append(out, key)
			field = rest
			continue
		}
		end := strings.IndexAny(field, ".[")
		if end < 0 {
			end = len(field)
		}
		out = append(out, field[:end])
		field = field[end:]
	}
	return out
}

// find returns the line of the deepest part of path that exists below n.
func find(n *yamlv3.Node, path []string) int {
	line := n.Line
	for len(path) > 0 {
		n = resolve(n)
		next, used := n, 0
		switch n.Kind {
		case yamlv3.MappingNode:
			next, used, line = findKey(n, path, line)
		case yamlv3.SequenceNode:
			if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(n.Content) {
				next, used, line = n.Content[i], 1, n.Content[i].Line
			}
		}
		if used == 0 {
			return line
		}
		n, path = next, path[used:]
	}
	return line
}

// findKey finds the key that the start of path names. A key may hold dots, so
// several parts of the path may make one.
func findKey(n *yamlv3.Node, path []string, line int) (*yamlv3.Node, int, int) {
	for used := 1; used <= len(path); used++ {
		name := strings.Join(path[:used], ".")
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				return n.Content[i+1], used, n.Content[i].Line
			}
		}
	}
	return n, 0, line
}

func child(n *yamlv3.Node, name string) *yamlv3.Node {
	if n == nil || n.Kind != yamlv3.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func resolve(n *yamlv3.Node) *yamlv3.Node {
	for hops := 0; n != nil && n.Alias != nil && hops < maxNesting; hops++ {
		n = n.Alias
	}
	return n
}
