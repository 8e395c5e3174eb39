package llm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// loops reports whether text goes round in circles, read in pieces of n bytes.
func loops(text string, n int) bool {
	var r repetition
	for len(text) > n {
		r.write([]byte(text[:n]))
		text = text[n:]
	}
	r.write([]byte(text))
	return r.found
}

// rows joins n made up rows.
func rows(n int, row func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(row(i))
	}
	return b.String()
}

const japanese = `段階的なリリースとは、新しい版のソフトウェアを一度に全員へ届けるのではなく、まず少数の利用者に届け、その様子を見ながら少しずつ広げていくやり方です。最初は全体の一パーセント程度から始めるのが普通です。
問題が見つかった場合には、すぐに古い版へ戻すことができます。戻すまでの時間が短いほど、影響を受ける人の数は少なくて済みます。そのためには、何をもって「問題」と呼ぶのかを、あらかじめ決めておかなければなりません。
たとえば、応答が返ってくるまでの時間、途中で切れてしまった応答の割合、空のまま終わった応答の割合などが考えられます。大規模言語モデルの場合はこれに加えて、同じ文章を延々と繰り返していないか、求められた形式のとおりに書かれているか、といった点も見る必要があります。
数字を比べるときに気をつけたいのは、偶然の揺らぎです。利用者が少ないうちは、一件の失敗が大きな割合に見えてしまいます。逆に、慎重になりすぎて結論を先延ばしにすると、本当に悪い版がいつまでも残ることになります。
そこで、二つの版を同じ時間帯に並べて動かし、同じ条件のもとで比べます。昨日の数字と今日の数字を比べても、曜日や時間帯の違いが混ざってしまい、正しい判断はできません。
最後に、広げる速さについて述べます。十分な証拠が集まったら次の段階に進み、集まらなければ待ちます。待っているあいだも、緊急停止の仕組みは常に働いていなければなりません。`

const russian = `Постепенный выпуск означает, что новую версию сначала получает небольшая часть пользователей, и лишь затем, если всё в порядке, остальные. Если что-то идёт не так, прежнюю версию возвращают сразу же, и пострадать успевают немногие. Чтобы решать быстро, нужно заранее договориться, что считать неисправностью: долгие ответы, оборванные ответы, пустые ответы или бесконечные повторы одной и той же фразы. Сравнивать следует обе версии в одно и то же время, потому что вечером и утром люди спрашивают о разном. Случайность тоже играет роль: пока запросов мало, одна-единственная ошибка выглядит как катастрофа, а через час окажется, что она ничего не значила.`

// TestOrdinaryTextIsNoLoop reads what models write all day.
func TestOrdinaryTextIsNoLoop(t *testing.T) {
	source := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	words := []string{"red", "blue", "green", "small", "large"}
	for name, text := range map[string]string{
		"English prose":  source("doc.go") + source("../routing/doc.go"),
		"Go code":        source("document.go") + source("meter.go"),
		"Go tables":      source("judge_test.go"),
		"Go switches":    source("label.go") + source("reason.go"),
		"Japanese prose": japanese,
		"Russian prose":  russian + russian[:len(russian)/3],
		"numbers":        rows(3000, func(i int) string { return fmt.Sprintf("%d, ", i) }),
		"Markdown table": "| Number | Name | Square | Parity |\n|-------------------|-----------------------|------|-----|\n" +
			rows(300, func(i int) string {
				return fmt.Sprintf("| %d | item-%d | %d | %s |\n", i, i, i*i, []string{"even", "odd"}[i%2])
			}),
		"JSON objects": "[" + rows(300, func(i int) string {
			return fmt.Sprintf("  {\n    \"id\": %d,\n    \"name\": \"User %d\",\n    \"email\": \"user%d@example.com\",\n    \"active\": true,\n    \"role\": \"member\"\n  },\n", i, i, i)
		}),
		"wide JSON objects": rows(200, func(i int) string {
			return fmt.Sprintf(`{"id":%d,"type":"sensor","unit":"celsius","status":"ok","location":{"building":"A","floor":1},"tags":["indoor","wired"],"value":%d.%d,"calibrated":true},`, i, 15+i%20, i*7%10)
		}),
		"JSON in Japanese": rows(200, func(i int) string {
			return fmt.Sprintf(`{"番号":%d,"名前":"商品%d","価格":%d円,"在庫":"あり"},`, i, i, i*130)
		}),
		"random choices": func() string {
			r := rand.New(rand.NewPCG(1, 2))
			return rows(2000, func(int) string { return words[r.IntN(len(words))] + " " })
		}(),
		"HTML list":            rows(200, func(i int) string { return fmt.Sprintf("<li class=\"item\"><a href=\"/page/%d\">Page</a></li>\n", i) }),
		"CSV":                  rows(400, func(i int) string { return fmt.Sprintf("2026-09-%02d,%d,EUR,paid\n", i%30+1, i*17%1009) }),
		"a draft and its copy": russian + "\n\n" + russian,
		"separators":           rows(20, func(i int) string { return strings.Repeat("=", 78) + "\n" + japanese[i*90:i*90+90] + "\n" }),
		"a short refrain": rows(30, func(i int) string {
			return fmt.Sprintf("Verse %d is about %s things of number %d.\nRow, row, row your boat.\n", i, words[i%5], i*i)
		}),
		"a short answer repeated": strings.Repeat("Yes. ", 100),
		"deeply indented code": rows(200, func(i int) string {
			return strings.Repeat(" ", 40) + fmt.Sprintf("if x == %d { return y%d }\n", i, i*3)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 5, len(text)} {
				if loops(text, n) {
					t.Errorf("taken for a loop in pieces of %d bytes", n)
				}
			}
		})
	}
}

func TestLoopsAreFound(t *testing.T) {
	for name, text := range map[string]string{
		"a sentence":            "I am a model. " + strings.Repeat("I said that already. ", 100),
		"a paragraph":           strings.Repeat(russian[:400]+"\n", 12),
		"a Japanese sentence":   "はい、お答えします。" + strings.Repeat("申し訳ありませんが、よくわかりません。", 30),
		"a Chinese phrase":      strings.Repeat("我不知道", 120),
		"a word":                strings.Repeat("the ", 400),
		"a mark":                "The answer is" + strings.Repeat("!", 300),
		"two marks":             strings.Repeat("?!", 3000),
		"line ends":             "Well.\n" + strings.Repeat("\n", 300),
		"letters without space": strings.Repeat("ha", 3000),
		"the same object":       strings.Repeat(`{"id":1,"name":"Alice","city":"Tokyo","active":true},`, 60),
		"lines of code":         "package main\n" + strings.Repeat("\tfmt.Println(\"hello\")\n", 150),
		"a long way before":     japanese + strings.Repeat("同じことを何度も言っています。", 60),
		"emoji":                 strings.Repeat("🎉✨", 200),
		"Thai":                  strings.Repeat("ฉันไม่รู้", 60),
		"zeros":                 strings.Repeat("0, ", 400),
		"a list in circles":     strings.Repeat("Paris, London, Rome, Berlin, Madrid, Vienna, Oslo, ", 60),
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 7, len(text)} {
				if !loops(text, n) {
					t.Errorf("not found in pieces of %d bytes", n)
				}
			}
		})
	}
}

// A text that stops repeating in time is none, and what one text leaves behind does
// not touch the next.
func TestRepetitionForgets(t *testing.T) {
	var r repetition
	r.write([]byte(russian))
	for range 3 {
		r.reset()
		r.write([]byte(russian))
		if r.found {
			t.Fatal("the text before counts")
		}
	}
}

// FuzzRepetition holds repetition against one that keeps everything, and against
// itself in other pieces.
func FuzzRepetition(f *testing.F) {
	f.Add([]byte("the cat sat on the mat "), uint8(40), 3)
	f.Add([]byte("同じこと。"), uint8(200), 2)
	f.Add([]byte("!"), uint8(255), 1)
	f.Fuzz(func(t *testing.T, text []byte, times uint8, n int) {
		text = []byte(strings.Repeat(string(text[:min(len(text), 500)]), int(times)))
		if n = max(n, 1); loops(string(text), n) != loops(string(text), max(len(text), 1)) {
			t.Fatal("the pieces matter")
		}
		var r repetition
		r.write(text)
		ones := 0
		for _, w := range r.again {
			for ; w != 0; w &= w - 1 {
				ones++
			}
		}
		if ones != r.repeat || r.repeat > gramWindow {
			t.Fatalf("%d bits, counted %d", ones, r.repeat)
		}
	})
}
