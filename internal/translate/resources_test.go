package translate

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// asJSON prints all objects, to tell whether one has changed.
func asJSON(t testing.TB, in *Resources) string {
	t.Helper()
	var out strings.Builder
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() != reflect.Slice {
			continue
		}
		data, err := json.MarshalIndent(v.Field(i).Interface(), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
	}
	return out.String()
}

// shuffle changes the order of every list of in.
func shuffle(in *Resources, r *rand.Rand) {
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice {
			r.Shuffle(f.Len(), reflect.Swapper(f.Interface()))
		}
	}
}

// number gives every object a generation of its own and returns them by ref.
func number(in *Resources) map[ObjectRef]int64 {
	out := map[ObjectRef]int64{}
	n := int64(0)
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Slice {
			continue
		}
		for j := range f.Len() {
			n++
			o := f.Index(j).Interface().(metav1.Object)
			o.SetGeneration(n)
			out[refOf(f.Index(j).Interface())] = n
		}
	}
	return out
}

// refOf names an object by the type of its pointer, or by its apiVersion.
func refOf(o any) ObjectRef {
	v := reflect.ValueOf(o).Elem()
	head := v.FieldByName("TypeMeta").Interface().(metav1.TypeMeta)
	return refTo(head.GroupVersionKind().Group, head.Kind, o.(metav1.Object))
}

// all returns every condition of the status.
func (s Status) all() []metav1.Condition {
	out := append([]metav1.Condition(nil), s.Conditions...)
	for _, l := range s.Listeners {
		out = append(out, l.Conditions...)
	}
	for _, p := range s.Parents {
		out = append(out, p.Conditions...)
	}
	return out
}
