// SPDX-License-Identifier: MIT

package chord

import (
	"encoding/csv"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"chord.example/dht/chordv1"
)

// vectors of proto/vectors.txt, which the tests of every client hold.
func vectors(t *testing.T) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("../../vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string][]byte)
	for _, line := range strings.Split(string(text), "\n") {
		if name, digits, two := strings.Cut(line, " "); two && !strings.HasPrefix(line, "#") {
			if found[name], err = hex.DecodeString(digits); err != nil {
				t.Fatal(line, err)
			}
		}
	}
	return found
}

// fates of proto/clients/fates.csv: code, fate, again.
func fates(t *testing.T) [][]string {
	t.Helper()
	file, err := os.Open("../fates.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil || len(rows) < 10 {
		t.Fatal(len(rows), err)
	}
	return rows[1:]
}

func TestCodesAreThoseOfTheContract(t *testing.T) {
	words := map[again]string{againNever: "never", againLater: "later", againAtOnce: "at once",
		againAtLeader: "at leader", againElsewhere: "elsewhere"}
	rows := fates(t)
	for _, row := range rows {
		number, known := chordv1.Code_value["CODE_"+row[0]]
		facts := Code(number).facts()
		if !known || facts.name != row[0] || facts.fate.String() != row[1] || words[facts.again] != row[2] {
			t.Errorf("%v: here %v, %v, %v", row, facts.name, facts.fate, words[facts.again])
		}
	}
	if len(rows) != len(codes) || len(rows) != len(chordv1.Code_value) {
		t.Errorf("fates.csv has %d codes, the contract %d, this client %d", len(rows), len(chordv1.Code_value), len(codes))
	}
	if unheard := Code(77).facts(); unheard.fate != MaybeDone || unheard.again != againNever || unheard.name != "CODE_77" {
		t.Error(unheard)
	}
}
