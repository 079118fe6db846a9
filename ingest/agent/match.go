package agent

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// matcher tests a text against many regular expressions at once. All but a few
// of them are, or hold, plain text that a match cannot do without: those texts
// are looked up by their first three bytes at every place of the input, and only
// a text that is found costs the run of its expression.
type matcher struct {
	byStart map[[gram]byte][]candidate
	always  []*regexp.Regexp // without such a text
}

const gram = 3

// candidate is a text, and the expression that holds it; nil if it is nothing
// but the text.
type candidate struct {
	text string
	expr *regexp.Regexp
}

func newMatcher(patterns []string) (*matcher, error) {
	m := &matcher{byStart: make(map[[gram]byte][]candidate)}
	for i, pattern := range patterns {
		parsed, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			return nil, fmt.Errorf("parse pattern %d: %w", i+1, err)
		}
		if parsed.Op == syntax.OpEmptyMatch {
			return nil, fmt.Errorf("pattern %d matches every agent", i+1)
		}
		texts := needed(parsed)
		var expr *regexp.Regexp
		if parsed.Op != syntax.OpLiteral || texts == nil {
			if expr, err = regexp.Compile(pattern); err != nil {
				return nil, fmt.Errorf("parse pattern %d: %w", i+1, err)
			}
		}
		if texts == nil {
			m.always = append(m.always, expr)
		}
		for _, text := range texts {
			start := [gram]byte([]byte(text[:gram]))
			m.byStart[start] = append(m.byStart[start], candidate{text: text, expr: expr})
		}
	}
	return m, nil
}

// needed returns texts one of which is in everything that re matches, each long
// enough to be looked up; nil if there are none.
func needed(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		if text := string(re.Rune); re.Flags&syntax.FoldCase == 0 && len(text) >= gram {
			return []string{text}
		}
		return nil
	case syntax.OpCapture, syntax.OpPlus:
		return needed(re.Sub[0])
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if texts := needed(sub); shortest(texts) > shortest(best) {
				best = texts
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			texts := needed(sub)
			if texts == nil {
				return nil
			}
			all = append(all, texts...)
		}
		return all
	default:
		return nil
	}
}

func shortest(texts []string) int {
	if len(texts) == 0 {
		return 0
	}
	n := len(texts[0])
	for _, text := range texts {
		n = min(n, len(text))
	}
	return n
}

func (m *matcher) match(input []byte) bool {
	for i := 0; i+gram <= len(input); i++ {
		rest := input[i:]
		for _, c := range m.byStart[[gram]byte(rest)] {
			if len(rest) >= len(c.text) && string(rest[:len(c.text)]) == c.text &&
				(c.expr == nil || c.expr.Match(input)) {
				return true
			}
		}
	}
	for _, expr := range m.always {
		if expr.Match(input) {
			return true
		}
	}
	return false
}
