package records

import (
	"bytes"
	"slices"
)

// pageRows is how many serials a page has: with the longest ones, it still takes
// two bytes to say where one ends.
const pageRows = 1024

// A serialList holds the serial of each row. One that is too long is kept empty;
// it is refused anyway.
type serialList struct {
	pages []*serialPage
	n     int
}

type serialPage struct {
	data []byte
	ends [pageRows]uint16
}

func (s *serialList) add(serial []byte) {
	i := s.n % pageRows
	if i == 0 {
		page := &serialPage{}
		if len(s.pages) > 0 { // likely as long as the last one
			page.data = make([]byte, 0, len(s.pages[len(s.pages)-1].data))
		}
		s.pages = append(s.pages, page)
	}
	page := s.pages[s.n/pageRows]
	if len(serial) <= MaxSerial {
		page.data = append(page.data, serial...)
	}
	page.ends[i] = uint16(len(page.data))
	s.n++
}

func (s *serialList) len() int { return s.n }

// at returns the serial of a row, from 1.
func (s *serialList) at(row uint32) []byte {
	page, i := s.pages[(row-1)/pageRows], (row-1)%pageRows
	start := uint16(0)
	if i > 0 {
		start = page.ends[i-1]
	}
	return page.data[start:page.ends[i]]
}

// sorted returns the rows in the order of their serials, equal ones by row. Most
// files are in that order.
func (s *serialList) sorted() []uint32 {
	rows := make([]uint32, s.n)
	ordered := true
	for i := range rows {
		rows[i] = uint32(i + 1)
		ordered = ordered && (i == 0 || bytes.Compare(s.at(rows[i-1]), s.at(rows[i])) <= 0)
	}
	if !ordered {
		s.sort(rows)
	}
	return rows
}

// sort sorts by 16 bytes that follow what all serials begin with, then by the
// rest. No serial has a zero byte, so a short one comes before a longer one.
func (s *serialList) sort(rows []uint32) {
	skip := s.shared()
	keys := make([]entry, len(rows))
	for i, row := range rows {
		keys[i].row = row
		copy(keys[i].index[:], s.at(row)[skip:])
	}
	sortEntries(keys)
	for i, k := range keys {
		rows[i] = k.row
	}
	for from := 0; from < len(keys); {
		to := from + 1
		for to < len(keys) && keys[to].index == keys[from].index {
			to++
		}
		slices.SortStableFunc(rows[from:to], func(a, b uint32) int { return bytes.Compare(s.at(a), s.at(b)) })
		from = to
	}
}

// shared returns how many bytes all serials begin with.
func (s *serialList) shared() int {
	first := s.at(1)
	n := len(first)
	for row := range uint32(s.n) {
		serial := s.at(row + 1)
		n = min(n, len(serial))
		for !bytes.Equal(serial[:n], first[:n]) {
			n--
		}
	}
	return n
}
