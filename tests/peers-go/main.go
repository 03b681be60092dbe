// tlog-peer checks what samebits writes about its log, with nothing of samebits: notes, proofs and tiles by
// golang.org/x/mod/sumdb (note, tlog), cosignatures, policies and proof files by filippo.io/torchwood.
//
//	tlog-peer export DIR             vkey, checkpoint, and every records/N.tlog-proof with records/N.json
//	tlog-peer proof VKEY PROOF FILE  one proof file, and the entry it is of
//	tlog-peer policy POLICY NOTE     a checkpoint under a policy, with its cosignatures
//	tlog-peer grown VKEY OLD NEW HASH…   two checkpoints and the consistency proof between them, in base64
//
// All but the hashes are files; an export with tiles is hashed whole.
//
// Prints what it found; exits with 1 where something is not as it should be.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tlog-peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "--version":
		fmt.Println("tlog-peer, of samebits' tests")
		return nil
	case len(args) == 2 && args[0] == "export":
		return export(args[1])
	case len(args) == 4 && args[0] == "proof":
		vkey, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		index, size, err := proof(string(vkey), args[2], args[3])
		if err == nil {
			fmt.Printf("entry %d of %d\n", index, size)
		}
		return err
	case len(args) == 3 && args[0] == "policy":
		return policy(args[1], args[2])
	case len(args) >= 4 && args[0] == "grown":
		return grown(args[1], args[2], args[3], args[4:])
	}
	return errors.New("usage: export DIR | proof VKEY PROOF FILE | policy POLICY NOTE | grown VKEY OLD NEW HASH…")
}

// open verifies the signature of a checkpoint, and that it is of the log that the key is named after.
func open(vkey string, signed []byte) (torchwood.Checkpoint, error) {
	none := torchwood.Checkpoint{}
	verifier, err := note.NewVerifier(strings.TrimSuffix(vkey, "\n"))
	if err != nil {
		return none, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return none, err
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err == nil && checkpoint.Origin != verifier.Name() {
		err = fmt.Errorf("the checkpoint is of %q, the key of %q", checkpoint.Origin, verifier.Name())
	}
	return checkpoint, err
}

func openFiles(vkeyPath, notePath string) (torchwood.Checkpoint, error) {
	vkey, err := os.ReadFile(vkeyPath)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	signed, err := os.ReadFile(notePath)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	return open(string(vkey), signed)
}

func export(dir string) error {
	head, err := openFiles(filepath.Join(dir, "vkey"), filepath.Join(dir, "checkpoint"))
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	vkey, err := os.ReadFile(filepath.Join(dir, "vkey"))
	if err != nil {
		return err
	}
	proofs, err := filepath.Glob(filepath.Join(dir, "records", "*.tlog-proof"))
	if err != nil {
		return err
	}
	for _, path := range proofs {
		record := strings.TrimSuffix(path, ".tlog-proof")
		index, size, err := proof(string(vkey), path, record+".json")
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if filepath.Base(record) != strconv.FormatInt(index, 10) || size != head.N {
			return fmt.Errorf("%s is of entry %d of %d, the checkpoint of %d", path, index, size, head.N)
		}
	}
	fmt.Printf("%s: %d entries, %d proofs\n", head.Origin, head.N, len(proofs))
	if _, err := os.Stat(filepath.Join(dir, "tile")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	root, err := rootOf(dir, head.N)
	if err == nil && root != head.Hash {
		err = fmt.Errorf("the entries have root %v, signed is %v", root, head.Hash)
	}
	return err
}

// proof verifies a proof file twice: by torchwood, and by what it says with sumdb/tlog alone.
func proof(vkey, path, entryPath string) (index, size int64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	entry, err := os.ReadFile(entryPath)
	if err != nil {
		return 0, 0, err
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(vkey, "\n"))
	if err != nil {
		return 0, 0, err
	}
	both := torchwood.ThresholdPolicy(2,
		torchwood.OriginPolicy(verifier.Name()), torchwood.SingleVerifierPolicy(verifier))
	if err := torchwood.VerifyProof(both, tlog.RecordHash(entry), text); err != nil {
		return 0, 0, err
	}
	head, signed, found := strings.Cut(string(text), "\n\n")
	if !found {
		return 0, 0, errors.New("no checkpoint in the proof")
	}
	checkpoint, err := open(vkey, []byte(signed))
	if err != nil {
		return 0, 0, err
	}
	var hashes tlog.RecordProof
	index = -1
	for _, line := range strings.Split(head, "\n")[1:] {
		word, value, _ := strings.Cut(line, " ")
		switch word {
		case "extra":
		case "index":
			if index, err = strconv.ParseInt(value, 10, 64); err != nil {
				return 0, 0, err
			}
		default:
			hash, err := tlog.ParseHash(line)
			if err != nil {
				return 0, 0, err
			}
			hashes = append(hashes, hash)
		}
	}
	return index, checkpoint.N, tlog.CheckRecord(hashes, checkpoint.N, checkpoint.Hash, index, tlog.RecordHash(entry))
}

func policy(policyPath, notePath string) error {
	text, err := os.ReadFile(policyPath)
	if err != nil {
		return err
	}
	parsed, err := torchwood.ParsePolicy(text)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(notePath)
	if err != nil {
		return err
	}
	checkpoint, opened, err := torchwood.VerifyCheckpoint(signed, parsed)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d entries\n", checkpoint.Origin, checkpoint.N)
	for _, signature := range opened.Sigs {
		fmt.Println(signature.Name)
	}
	return nil
}

func grown(vkeyPath, oldPath, newPath string, hashes []string) error {
	older, err := openFiles(vkeyPath, oldPath)
	if err != nil {
		return err
	}
	newer, err := openFiles(vkeyPath, newPath)
	if err != nil {
		return err
	}
	var proof tlog.TreeProof
	for _, text := range hashes {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	if err := tlog.CheckTree(proof, newer.N, newer.Hash, older.N, older.Hash); err != nil {
		return err
	}
	fmt.Printf("%s: %d to %d entries\n", newer.Origin, older.N, newer.N)
	return nil
}

// rootOf hashes every entry of a tiled log, and compares every tile with what that gives.
func rootOf(dir string, size int64) (root tlog.Hash, err error) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, 0, len(indexes))
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	index := int64(0)
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, size) {
		if tile.L > 0 {
			break
		}
		bundle := tile
		bundle.L = -1
		data, err := os.ReadFile(filepath.Join(dir, torchwood.TilePath(bundle)))
		if err != nil {
			return root, err
		}
		for range tile.W {
			var entry []byte
			if len(data) < 2 || len(data) < 2+(int(data[0])<<8|int(data[1])) {
				return root, fmt.Errorf("%s is cut off", torchwood.TilePath(bundle))
			}
			length := int(data[0])<<8 | int(data[1])
			entry, data = data[2:2+length], data[2+length:]
			hashes, err := tlog.StoredHashes(index, entry, read)
			if err != nil {
				return root, err
			}
			stored = append(stored, hashes...)
			index++
		}
		if len(data) != 0 {
			return root, fmt.Errorf("%s has %d bytes too many", torchwood.TilePath(bundle), len(data))
		}
	}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, size) {
		found, err := os.ReadFile(filepath.Join(dir, torchwood.TilePath(tile)))
		if err != nil {
			return root, err
		}
		expected, err := tlog.ReadTileData(tile, read)
		if err != nil {
			return root, err
		}
		if !bytes.Equal(found, expected) {
			return root, fmt.Errorf("%s is not what its entries give", torchwood.TilePath(tile))
		}
	}
	return tlog.TreeHash(size, read)
}
