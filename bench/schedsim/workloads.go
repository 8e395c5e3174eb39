package main

import "fmt"

// workloads are those of the table. The highest load of each is the last one at
// which the best policies still have short queues with 8 endpoints.
func workloads() []*workload {
	return []*workload{
		{name: "b2b", loads: [3]float64{7, 10, 13}, make: backToBack},
		{name: "b2bu", loads: [3]float64{8, 12, 16}, make: backToBackUnique},
		{name: "bimodal", loads: [3]float64{10, 15, 20}, make: bimodal},
		{name: "lengths", loads: [3]float64{30, 45, 60}, make: lengths},
		{name: "bursts", loads: [3]float64{6, 9, 12}, make: bursts},
		{name: "chat", loads: [3]float64{16, 25, 34}, make: chat},
		{name: "agents", loads: [3]float64{4, 6, 8}, make: agents},
		{name: "fanout", loads: [3]float64{12, 20, 28}, make: fanout},
		{name: "lora", loads: [3]float64{6, 10, 15}, lora: 4, make: lora},
	}
}

func shared(kind, n, tokens int) text { return text{uint64(kind)<<52 | uint64(n)<<8 | 3, tokens} }

// backToBack: 150 system prompts of 6000 tokens, each with one of 5 questions
// of 1200, answers of 1000.
func backToBack(g *generator, rate, seconds float64) {
	g.arrivals(rate, seconds, func(at float64) {
		n := g.IntN(150)
		g.add(at, 1000, shared(1, n, 6000), shared(2, n*5+g.IntN(5), 1200))
	})
}

// backToBackUnique: the same system prompts, some far more popular, each with a
// question of its own.
func backToBackUnique(g *generator, rate, seconds float64) {
	pick := g.zipf(1.1, 4, 150)
	g.arrivals(rate, seconds, func(at float64) {
		n := pick()
		g.add(at, g.tokens(500, 300, 1, 4000), shared(1, n, 6000), g.unique(1200))
	})
}

// bimodal: short prompts and one in ten very long, nothing shared.
func bimodal(g *generator, rate, seconds float64) {
	g.arrivals(rate, seconds, func(at float64) {
		tokens := 50 + g.IntN(900)
		if g.IntN(10) == 0 {
			tokens = 10_000 + g.IntN(20_000)
		}
		g.add(at, g.tokens(300, 300, 1, 4000), g.unique(tokens))
	})
}

// lengths: the lengths of Azure's 2023 traces, conversation and code, nothing
// shared.
func lengths(g *generator, rate, seconds float64) {
	g.arrivals(rate, seconds, func(at float64) {
		in, out := g.tokens(1155, 1109, 16, 8000), g.tokens(211, 163, 1, 2000)
		if g.IntN(2) == 0 {
			in, out = g.tokens(2048, 1926, 16, 8000), g.tokens(28, 60, 1, 2000)
		}
		g.add(at, out, g.unique(in))
	})
}

// bursts: ten seconds' requests within 50 ms, all alike, nothing shared.
func bursts(g *generator, rate, seconds float64) {
	for start := 0.0; start < seconds; start += 10 {
		for range int(10 * rate) {
			g.add(start+0.05*g.Float64(), 500, g.unique(1000))
		}
	}
}

// chat: conversations of 2 to 10 turns on one of 20 system prompts.
func chat(g *generator, rate, seconds float64) {
	session := 0
	g.arrivals(rate/6, seconds, func(at float64) {
		session++
		history := []text{shared(3, g.IntN(20), 2000)}
		for range 2 + g.IntN(9) {
			history = append(history, g.unique(g.tokens(600, 900, 20, 8000)))
			out := g.tokens(300, 250, 1, 2000)
			g.add(at, out, history...).session = session
			history = append(history, g.unique(out))
			at += 0.04*float64(out) + 2 + 20*g.ExpFloat64()
			if at > seconds {
				return
			}
		}
	})
}

// agents: sessions of 6 to 20 calls whose context grows by what tools return,
// on one of 4 long system prompts.
func agents(g *generator, rate, seconds float64) {
	session := 1 << 20
	g.arrivals(rate/13, seconds, func(at float64) {
		session++
		history := []text{shared(4, g.IntN(4), 6000), g.unique(g.tokens(3000, 3000, 50, 20_000))}
		for range 6 + g.IntN(15) {
			out := g.tokens(150, 120, 8, 1500)
			g.add(at, out, history...).session = session
			history = append(history, g.unique(out), g.unique(g.tokens(1500, 2500, 20, 20_000)))
			at += 0.04*float64(out) + 1 + 4*g.ExpFloat64()
			if at > seconds {
				return
			}
		}
	})
}

// fanout: 4 to 20 calls within 200 ms on one new context, as of an agent that sends
// out others, or of an evaluation.
func fanout(g *generator, rate, seconds float64) {
	g.arrivals(rate/12, seconds, func(at float64) {
		context := g.unique(2000 + g.IntN(10_000))
		for range 4 + g.IntN(17) {
			g.add(at+0.2*g.Float64(), g.tokens(200, 150, 1, 2000), context, g.unique(200))
		}
	})
}

// lora: 60 adapters, some far more popular, short prompts.
func lora(g *generator, rate, seconds float64) {
	pick := g.zipf(1.2, 3, 60)
	g.arrivals(rate, seconds, func(at float64) {
		r := g.add(at, g.tokens(200, 150, 1, 2000), g.unique(100+g.IntN(900)))
		r.adapter = fmt.Sprintf("adapter-%d", pick())
		for i := range r.blocks {
			r.blocks[i] ^= uint64(len(r.adapter)) << 3
		}
	})
}
