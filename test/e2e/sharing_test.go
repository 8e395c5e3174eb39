package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// sharing asks the same long questions at each pod of a data plane: every one goes
// to one model server, whichever pod is asked first. A pod that comes later sends
// them there too.
func sharing(t *testing.T) {
	p, _ := newChat(t)
	p.weigh(100, 0)
	pods := p.planes(2)
	chosen := map[string]string{} // model servers by question
	for i := range 4 {
		question := strings.Repeat(fmt.Sprintf("question %d ", i), 3000)
		first, second := pods[i%2], pods[1-i%2]
		chosen[question] = p.choice(first, question)
		want := p.pool(first).IndexBlocks
		eventually(t, "the other pod has heard of the question", func() error {
			if n := p.pool(second).IndexBlocks; n < want {
				return fmt.Errorf("it remembers %d blocks of %d", n, want)
			}
			return nil
		})
		p.goesTo(second, chosen[question], question)
	}

	old := p.pods("gw-crossfade")
	p.kubectl("delete", "--wait=false", "pod", slices.Sorted(maps.Keys(old))[0])
	eventually(t, "another pod takes its place", func() error {
		for name := range p.pods("gw-crossfade") {
			if !old[name] {
				return nil
			}
		}
		return errNotYet
	})
	fresh := slices.DeleteFunc(p.planes(2), func(ip string) bool { return slices.Contains(pods, ip) })
	if len(fresh) != 1 {
		t.Fatalf("the pods are at %s, then at %s as well", pods, fresh)
	}
	eventually(t, "the new pod has learned of the questions", func() error {
		if n, want := p.pool(fresh[0]).IndexBlocks, 4*120; n < want {
			return fmt.Errorf("it remembers %d blocks of at least %d", n, want)
		}
		return nil
	})
	for question, server := range chosen {
		p.goesTo(fresh[0], server, question)
	}
}

// planes waits for so many ready pods of the data plane, each of which knows the
// others, and returns their addresses.
func (p place) planes(n int) (ips []string) {
	p.t.Helper()
	rolledOut(p.t, p.namespace, "gw-crossfade")
	eventually(p.t, "all pods of the data plane know each other", func() error {
		ips = strings.Fields(p.kubectl("get", "pods", "-l", "app.kubernetes.io/instance=gw-crossfade",
			"-o", `jsonpath={range .items[?(@.status.phase=="Running")]}{.status.podIP} {end}`))
		if len(ips) != n {
			return fmt.Errorf("they are %s", ips)
		}
		for _, ip := range ips {
			text, err := admin(ip, "/metrics")
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("\ncrossfade_gossip_peers %d\n", n-1); !strings.Contains(string(text), want) {
				return fmt.Errorf("%s has other peers than %d", ip, n-1)
			}
		}
		return nil
	})
	return ips
}

// admin reads a page of a pod's admin port.
func admin(ip, path string) ([]byte, error) {
	client := newClient(false)
	answer, err := client.Get("http://" + net.JoinHostPort(ip, "19000") + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s%s answers %s", ip, path, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// picked is what a pod says of a pool.
type picked struct {
	Name        string
	IndexBlocks int
	Endpoints   []struct {
		Address string
		Picks   int
	}
}

// pool is what a pod says of the pool one.
func (p place) pool(ip string) picked {
	p.t.Helper()
	text, err := admin(ip, "/endpoints")
	var pools []picked
	if err == nil {
		err = json.Unmarshal(text, &pools)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	for _, one := range pools {
		if one.Name == p.namespace+"/one" {
			return one
		}
	}
	return picked{}
}

// choice asks at a pod and returns the model server that it chose.
func (p place) choice(ip, content string) string {
	p.t.Helper()
	before := map[string]int{}
	for _, e := range p.pool(ip).Endpoints {
		before[e.Address] = e.Picks
	}
	q := ask("chat")
	q.Messages[0].Content = content
	p.answers("http://"+net.JoinHostPort(ip, "8080"), q)
	var chosen []string
	for _, e := range p.pool(ip).Endpoints {
		if e.Picks > before[e.Address] {
			chosen = append(chosen, e.Address)
		}
	}
	if len(chosen) != 1 {
		p.t.Fatalf("%s has chosen %s", ip, chosen)
	}
	return chosen[0]
}

func (p place) goesTo(ip, server, content string) {
	p.t.Helper()
	for range 3 {
		if got := p.choice(ip, content); got != server {
			p.t.Errorf("%s sends %.10s to %s, want %s", ip, content, got, server)
		}
	}
}
