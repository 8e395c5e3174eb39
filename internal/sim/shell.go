package sim

import "strings"

// splitScript cuts a shell script into its simple commands, as far as a
// container's start script needs it: quotes, backslashes, comments, line
// continuations, the operators that end a command, and redirections, which are
// dropped. Variables stay as written; nothing is ever expanded or run.
func splitScript(script string) [][]string {
	l := lexer{src: script}
	for l.pos < len(l.src) {
		l.next()
	}
	l.endCommand()
	return l.commands
}

type lexer struct {
	src      string
	pos      int
	word     []byte
	inWord   bool // a word has begun, be it empty ("")
	drop     bool // the next word is the target of a redirection
	command  []string
	commands [][]string
}

func (l *lexer) next() {
	c := l.src[l.pos]
	l.pos++
	switch c {
	case ' ', '\t', '\r':
		l.endWord()
	case '\n', ';', '|', '&', '(', ')':
		l.endCommand()
	case '<', '>':
		l.redirect()
	case '#':
		if l.inWord {
			l.add(c)
			return
		}
		l.pos += lineEnd(l.src[l.pos:])
	case '\\':
		l.escape()
	case '\'':
		l.singleQuoted()
	case '"':
		l.doubleQuoted()
	case '$':
		l.dollar()
	default:
		l.add(c)
	}
}

func (l *lexer) add(c ...byte) {
	l.inWord = true
	l.word = append(l.word, c...)
}

func (l *lexer) endWord() {
	if l.inWord && !l.drop {
		l.command = append(l.command, string(l.word))
	}
	if l.inWord {
		l.drop = false
	}
	l.word, l.inWord = l.word[:0], false
}

func (l *lexer) endCommand() {
	l.endWord()
	l.drop = false
	if len(l.command) > 0 {
		l.commands = append(l.commands, l.command)
	}
	l.command = nil
}

// redirect handles >, >>, <, 2>, >&1 and &>: the number before and the word
// after belong to the redirection, not to the command.
func (l *lexer) redirect() {
	if strings.Trim(string(l.word), "0123456789") == "" {
		l.word, l.inWord = l.word[:0], false
	}
	l.endWord()
	for l.pos < len(l.src) && strings.IndexByte("<>&|", l.src[l.pos]) >= 0 {
		l.pos++
	}
	l.drop = true
}

func (l *lexer) escape() {
	if l.pos == len(l.src) {
		return
	}
	c := l.src[l.pos]
	l.pos++
	if c != '\n' { // a backslash at the end of a line joins it to the next
		l.add(c)
	}
}

func (l *lexer) singleQuoted() {
	l.inWord = true
	end := strings.IndexByte(l.src[l.pos:], '\'')
	if end < 0 {
		end = len(l.src) - l.pos
	}
	l.add([]byte(l.src[l.pos : l.pos+end])...)
	l.pos = min(len(l.src), l.pos+end+1)
}

func (l *lexer) doubleQuoted() {
	l.inWord = true
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		l.pos++
		switch {
		case c == '"':
			return
		case c == '\\' && l.pos < len(l.src) && strings.IndexByte("\"\\$`\n", l.src[l.pos]) >= 0:
			l.escape()
		default:
			l.add(c)
		}
	}
}

// dollar keeps $(...) and ${...} together, whatever they contain.
func (l *lexer) dollar() {
	l.add('$')
	if l.pos == len(l.src) {
		return
	}
	var closer byte
	switch l.src[l.pos] {
	case '(':
		closer = ')'
	case '{':
		closer = '}'
	default:
		return
	}
	end := strings.IndexByte(l.src[l.pos:], closer)
	if end < 0 {
		end = len(l.src) - l.pos - 1
	}
	l.add([]byte(l.src[l.pos : l.pos+end+1])...)
	l.pos += end + 1
}

func lineEnd(s string) int {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return i
	}
	return len(s)
}
