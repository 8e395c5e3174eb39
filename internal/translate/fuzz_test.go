package translate

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// FuzzBuild takes the objects of a case and changes fields at random: to nothing,
// or to odd values with nil pointers among them. Build must neither panic nor
// change them, and must answer equally twice.
func FuzzBuild(f *testing.F) {
	files := cases(f)
	for i := range files {
		f.Add(uint8(i), uint8(i), binary.LittleEndian.AppendUint64(nil, uint64(i)*0x9E3779B97F4A7C15))
	}
	f.Fuzz(func(t *testing.T, which, rate uint8, data []byte) {
		a, err := txtar.ParseFile(files[int(which)%len(files)])
		if err != nil {
			t.Fatal(err)
		}
		in, opts, _ := load(t, a)
		m := &maker{data: data, rate: int(rate)}
		m.change(reflect.ValueOf(in).Elem())
		before := asJSON(t, in)
		first := Build(in, opts)
		if asJSON(t, in) != before {
			t.Fatal("Build changed its input")
		}
		if a, b := render(first), render(Build(in, opts)); a != b {
			t.Fatalf("two builds of one input differ:\n%s\n----\n%s", a, b)
		}
		for _, s := range first.Statuses {
			for _, c := range s.all() {
				if c.Reason == "" || c.Type == "" || c.Status == "" {
					t.Fatalf("%s: condition %+v", s.Ref, c)
				}
			}
		}
	})
}

func render(r *Result) string {
	var b strings.Builder
	for _, name := range []string{"want.snapshot", "want.status", "want.problems"} {
		s, _ := wantedPart(r, name, nil)
		b.WriteString(s)
	}
	return b.String()
}

// maker makes and changes values as data says and, when that is used up, a
// generator started from it.
type maker struct {
	data  []byte
	state uint64
	rate  int // of 256 fields, how many change
}

func (m *maker) next(n int) int {
	if len(m.data) > 0 {
		m.state = m.state<<8 | uint64(m.data[0])
		m.data = m.data[1:]
	}
	m.state = m.state*6364136223846793005 + 1442695040888963407
	return int(m.state>>33) % n
}

// change walks v and replaces some of what it finds.
func (m *maker) change(v reflect.Value) {
	if m.opaque(v) {
		return
	}
	if v.CanSet() && m.next(256) < m.rate {
		if m.next(2) == 0 {
			v.SetZero()
		} else {
			m.fill(v, 0)
		}
		return
	}
	switch v.Interface().(type) {
	case metav1.Time, intstr.IntOrString:
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			m.change(v.Field(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			m.change(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			m.change(v.Index(i))
		}
	}
}

// opaque says that values of v's type cannot be made field by field.
func (m *maker) opaque(v reflect.Value) bool {
	if !v.CanInterface() {
		return true
	}
	switch v.Interface().(type) {
	case map[ObjectRef][]string, metav1.FieldsV1, metav1.TypeMeta:
		return true
	}
	return strings.Contains(v.Type().PkgPath(), "api/resource")
}

// words are the strings worth trying: names that refer to each other, enums, and
// nonsense.
var words = []string{"", "a", "s", "gw", "default", "HTTP", "HTTPS", "Gateway", "Service", "InferencePool", "HTTPRoute", "Secret",
	gatewayGroup, inferenceGroup, legacyGroup, "Exact", "PathPrefix", "RegularExpression", "/", "/a", "(", "*.a", "All", "Selector",
	"RequestHeaderModifier", "RequestRedirect", "URLRewrite", "ReplacePrefixMatch", "a:80", "10.0.0.1", "Terminate", "1h", "FailOpen"}

// fill makes a value for v. Pods' specs and what lies too deep stay empty.
func (m *maker) fill(v reflect.Value, depth int) {
	if depth > 12 || m.opaque(v) || v.Type() == reflect.TypeFor[corev1.PodSpec]() {
		return
	}
	switch v.Interface().(type) {
	case metav1.Time:
		v.Set(reflect.ValueOf(metav1.Unix(int64(m.next(3)), 0)))
		return
	case time.Time:
		return
	case intstr.IntOrString:
		v.Set(reflect.ValueOf(intstr.Parse([]string{"80", "a", "0"}[m.next(3)])))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			m.fill(v.Field(i), depth+1)
		}
	case reflect.Pointer:
		if m.next(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			m.fill(v.Elem(), depth)
		}
	case reflect.Slice:
		n := m.next(3)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			m.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range m.next(3) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			m.fill(k, depth+1)
			m.fill(e, depth+1)
			v.SetMapIndex(k, e)
		}
	default:
		m.fillLeaf(v)
	}
}

func (m *maker) fillLeaf(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(words[m.next(len(words))])
	case reflect.Bool:
		v.SetBool(m.next(2) == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := []int64{0, 1, -1, 80, 443, 65535, 70000, 301}[m.next(8)]
		if !v.OverflowInt(n) {
			v.SetInt(n)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(m.next(100)))
	}
}
