package records

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"mintmark/hsm/secret"
)

// TestTheDigestOfAFileIsTheStoredOne holds the digest to what an earlier version
// stored: a retry of its imports must be known again.
func TestTheDigestOfAFileIsTheStoredOne(t *testing.T) {
	const want = "5f09c03d018ab71be367af7bf7d7fb478d9a805c4e76d36f47ddb372be0f501e"
	p := camera()
	p.Credentials[1].Check, p.Credentials[2].Check = nil, nil
	in, err := takeIn(t, p, "serial,admin,service\nS1,AB,CD\nS2,EF,GH\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := in.digest(t.Context(), ImportedBatch, 1)
	if err != nil || hex.EncodeToString(got[:]) != want {
		t.Errorf("digest is %x, %v, want %s", got, err, want)
	}
}

// TestTheDigestIsOfEveryCell computes the digest of a long file another way.
func TestTheDigestIsOfEveryCell(t *testing.T) {
	const n = 5 * maxChunkRows / 2
	in := newIntake(single(), newTestKeys("a"), Actor{})
	if err := in.read(t.Context(), &manyRows{n: n}, nil); err != nil {
		t.Fatal(err)
	}
	said := appendField(appendField(nil, "camera"), "admin")
	for row := 1; row <= n; row++ {
		i := index(uint64(row))
		said = appendField(appendField(said, fmt.Sprintf("SN%08d", row)), fmt.Sprintf("%X", i[:]))
	}
	sum := sha256.Sum256(said)
	if want := sha256.Sum256(sum[:]); !bytes.Equal(in.content.Sum(nil), want[:]) {
		t.Error("the digest is not that of all cells, each with its length before it")
	}
}

// TestABoxIsTheStoredOne holds the box of a row to what an earlier version wrote.
func TestABoxIsTheStoredOne(t *testing.T) {
	const want = "0000005403534e324643e5ceb2838d13373eb0fbf100bd2726775ae8c4a600d38496432a1ac13bd25c480a" +
		"1668beb3b0836a504f9ae2264682743772cfa8446f8d1d0e1b4e12fd79af6958768c249d98ea9dabf4516f7320"
	key := secret.From([]byte("0123456789abcdef0123456789abcdef"))
	defer key.Close()
	box, err := newRowBox(key, [16]byte{1, 2, 3}, 7)
	if err != nil {
		t.Fatal(err)
	}
	plain := padRow(appendPlain(appendPlain(nil, []byte("CCCCCC")), []byte("DDDDDD")))
	for range 2 { // the box uses its room again
		if got := hex.EncodeToString(box.seal(nil, 70_000, []byte("SN2"), plain)); got != want {
			t.Errorf("box is %s, want %s", got, want)
		}
	}
}
