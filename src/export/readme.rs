//! What a stranger reads first.

use super::Index;
use crate::tlog::Vkey;

/// `README.md`, for this export.
pub(super) fn text(vkey: &Vkey, index: &Index) -> String {
    let Index { origin, ledger, control, part, records, evidence, missing, .. } = index;
    let what = match part.is_whole() {
        true => format!("all {} records of the log", ledger.size),
        false => format!(
            "{} of the {} records of the log, and nothing about the others",
            records.len(),
            ledger.size
        ),
    };
    let missing = match missing.len() {
        0 => String::new(),
        count => format!(
            "\n{count} pieces of evidence were no longer in the ledger when this was exported; `index.json` names them.\n"
        ),
    };
    format!(
        r#"# Records of {origin}

This folder has {what}, {control} control records (always all of
them), and {evidence} pieces that the decisions relied on. Everything in it can be checked offline.
{missing}
| Path | What it is |
| --- | --- |
| `vkey` | the log's verifier key (C2SP signed-note). Compare it with one that you have from elsewhere |
| `checkpoint` | the signed head of the log: {size} records, root {root} (C2SP tlog-checkpoint), with the cosignatures of witnesses where there are any |
| `records/N.json` | record N, byte for byte: a Sigstore bundle (v0.3) around an in-toto Statement v1 |
| `records/N.tlog-proof` | that it is entry N of the log (C2SP tlog-proof) |
| `tile/` | the whole log as C2SP tlog-tiles; not in an export of a part |
| `control/` | the control lane: what was revoked or frozen; a log of its own with the same layout, whose `control/vkey` is the same key under the name `{origin}/control` |
| `policies/D.toml` | the policy files that decided, by their digest |
| `keys/D.pem`, `roots/D.json` | the keys they name, by the digest of their DER; the roots of trust, by digest |
| `evidence/sha256/D` | index, manifests, bundles and the rest of what was relied on, by digest |
| `index.json` | what ought to be here; signed by nobody |

## With samebits

    samebits ledger verify FOLDER --vkey '{vkey}'

takes the key from you, not from this folder, and names everything that is not as it was signed.

## Without

1. `checkpoint`. In Go, with golang.org/x/mod/sumdb/note:

       verifier, _ := note.NewVerifier(vkey)
       opened, err := note.Open(checkpoint, note.VerifierList(verifier))

   The text is origin, size and root in base64, a line each.
2. `records/N.json`. The leaf hash is SHA-256 of the byte 0x00 and the file (`tlog.RecordHash`). The lines of
   `records/N.tlog-proof` between `index N` and the empty line are the RFC 6962 inclusion proof in base64, from the leaf
   up (`tlog.CheckRecord(proof, size, root, N, leaf)`, golang.org/x/mod/sumdb/tlog); below the empty line stands the
   same checkpoint.
3. Whose record it is. The bundle is signed by a key or a certificate; the policy that a promotion names
   (`predicate.policy`) says who that is. For instance:

       cosign verify-blob-attestation --key keys/D.pem --insecure-ignore-tlog=true \
           --type https://samebits.dev/promotion/v0.1 --bundle records/N.json evidence/sha256/D

   where the last is the image's index, `subject[0]` of the record.
4. `evidence/sha256/D`: `sha256sum` says D. So it does for `policies` and `roots`; of a key it is that of the DER.
5. `control/`: every entry in order gives the root of `control/checkpoint`; none may be missing.
"#,
        control = control.size,
        evidence = evidence.len(),
        size = ledger.size,
        root = ledger.root,
    )
}
