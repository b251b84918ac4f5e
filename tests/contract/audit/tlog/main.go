// Reads an audit log with Go's own packages: the note, the tiles, proofs of entries and of earlier trees.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type record struct {
	Index int64
	Hash  tlog.Hash
	Proof []tlog.Hash
}

type tree struct {
	Size  int64
	Root  tlog.Hash
	Proof []tlog.Hash
}

type question struct {
	Folder, Verifier, Note string
	Records                []record
	Trees                  []tree
}

type answer struct {
	Size       int64         `json:"size"`
	Root       tlog.Hash     `json:"root"`
	Checked    int           `json:"checked"`
	Proofs     [][]tlog.Hash `json:"proofs"`
	TreeProofs [][]tlog.Hash `json:"treeProofs"`
}

// files is a tlog.TileReader over the folder of a log.
type files struct{ folder string }

func (f files) Height() int                     { return 8 }
func (f files) SaveTiles([]tlog.Tile, [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(f.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	data, err := os.ReadFile(os.Args[1])
	must(err)
	var q question
	must(json.Unmarshal(data, &q))
	verifier, err := note.NewVerifier(q.Verifier)
	must(err)
	signed, err := note.Open([]byte(q.Note), note.VerifierList(verifier))
	must(err)
	lines := strings.Split(signed.Text, "\n")
	told := answer{}
	_, err = fmt.Sscan(lines[1], &told.Size)
	must(err)
	told.Root, err = tlog.ParseHash(lines[2])
	must(err)
	hashes := tlog.TileHashReader(tlog.Tree{N: told.Size, Hash: told.Root}, files{q.Folder})
	for _, one := range q.Records {
		must(tlog.CheckRecord(one.Proof, told.Size, told.Root, one.Index, one.Hash))
		proof, err := tlog.ProveRecord(told.Size, one.Index, hashes)
		must(err)
		told.Proofs = append(told.Proofs, proof)
		told.Checked++
	}
	for _, one := range q.Trees {
		must(tlog.CheckTree(one.Proof, told.Size, told.Root, one.Size, one.Root))
		proof, err := tlog.ProveTree(told.Size, one.Size, hashes)
		must(err)
		if proof == nil {
			proof = tlog.TreeProof{}
		}
		told.TreeProofs = append(told.TreeProofs, proof)
		root, err := tlog.TreeHash(one.Size, hashes)
		must(err)
		if root != one.Root {
			must(fmt.Errorf("tree of %d: root %v, not %v", one.Size, root, one.Root))
		}
		told.Checked++
	}
	must(json.NewEncoder(os.Stdout).Encode(told))
}
