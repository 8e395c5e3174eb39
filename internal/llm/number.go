package llm

// numberState is how far into a number, by RFC 8259 §6, the walker has read.
type numberState uint8

const (
	numberStart numberState = iota
	numberMinus
	numberZero // a leading zero, which stands alone
	numberInteger
	numberPoint
	numberFraction
	numberE
	numberSign
	numberExponent
	numberOver // the byte is not part of the number
)

// complete reports whether a number may end here.
func (s numberState) complete() bool {
	return s == numberZero || s.inDigits()
}

// inDigits reports whether one more digit changes nothing.
func (s numberState) inDigits() bool {
	return s == numberInteger || s == numberFraction || s == numberExponent
}

// after returns the state after one more byte.
func (s numberState) after(c byte) numberState {
	switch {
	case isDigit(c):
		return s.afterDigit(c)
	case c == '-' && s == numberStart:
		return numberMinus
	case c == '.' && (s == numberZero || s == numberInteger):
		return numberPoint
	case (c == 'e' || c == 'E') && (s == numberZero || s == numberInteger || s == numberFraction):
		return numberE
	case (c == '+' || c == '-') && s == numberE:
		return numberSign
	}
	return numberOver
}

func (s numberState) afterDigit(c byte) numberState {
	switch s {
	case numberStart, numberMinus:
		if c == '0' {
			return numberZero
		}
		return numberInteger
	case numberInteger:
		return numberInteger
	case numberPoint, numberFraction:
		return numberFraction
	case numberE, numberSign, numberExponent:
		return numberExponent
	}
	return numberOver
}
