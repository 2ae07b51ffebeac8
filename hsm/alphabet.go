package hsm

import "strings"

// The alphabets that a profile may name, from R-GEN-02. There is no way to bring
// one's own: a weak alphabet would not look weak in a report.
const (
	Strict20 = "strict20" // no vowels and nothing that looks like something else
	Alpha24  = "alpha24"  // as on product keys; keeps B/8 and G/6
	Base32V  = "base32v"  // keeps S/5, Z/2, B/8 and U/V
	Digits   = "digits"
	Hex      = "hex" // keys only; either case is read, lower case is written
)

// Alphabets lists them for messages and help.
func Alphabets() []string { return []string{Strict20, Alpha24, Base32V, Digits, Hex} }

// charsOf returns the characters of a named alphabet, or "" for an unknown name.
// None has more than 128, none has one twice.
func charsOf(name string) string {
	switch name {
	case Strict20:
		return "CDFHJKMPQRTVWXY23479"
	case Alpha24:
		return "BCDFGHJKMPQRTVWXY2346789"
	case Base32V:
		return "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
	case Digits:
		return "0123456789"
	case Hex:
		return "0123456789abcdef"
	}
	return ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// digitsIn counts the digits of an alphabet; its other characters are letters.
func digitsIn(chars string) int {
	return len(chars) - len(strings.Trim(chars, "0123456789"))
}
