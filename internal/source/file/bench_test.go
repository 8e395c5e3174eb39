package file

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkLoad reads the seven manifests of the guide with compiled schemas.
func BenchmarkLoad(b *testing.B) {
	load(b, "testdata/gray-release")
	b.ReportAllocs()
	for b.Loop() {
		load(b, "testdata/gray-release")
	}
}

// BenchmarkReload is one changed file among the seven, from the look at the files
// to the update.
func BenchmarkReload(b *testing.B) {
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/gray-release")); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "6-route-90-10.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	r := newReader([]string{dir}, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := os.WriteFile(path, append(text, "# "[:1+i%2]...), 0o644); err != nil {
			b.Fatal(err)
		}
		r.read(walk(r.paths))
	}
}

// BenchmarkLook is a look at the seven files when nothing changed, as polling does.
func BenchmarkLook(b *testing.B) {
	r := newReader([]string{"testdata/gray-release"}, 0)
	r.read(walk(r.paths))
	b.ReportAllocs()
	for b.Loop() {
		r.read(walk(r.paths))
	}
}

// BenchmarkCompile is what a process pays once for the kinds of the guide.
func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		for file, version := range map[string]string{
			"gateway.networking.k8s.io_gatewayclasses.yaml":      "v1",
			"gateway.networking.k8s.io_gateways.yaml":            "v1",
			"gateway.networking.k8s.io_httproutes.yaml":          "v1",
			"inference.networking.x-k8s.io_inferencepools.yaml":  "v1alpha2",
			"inference.networking.x-k8s.io_inferencemodels.yaml": "v1alpha2",
			"gateway.envoyproxy.io_clienttrafficpolicies.yaml":   "v1alpha1",
			"gateway.envoyproxy.io_backendtrafficpolicies.yaml":  "v1alpha1",
		} {
			if _, err := compile(file, version); err != nil {
				b.Fatal(err)
			}
		}
	}
}
