#!/usr/bin/env python3
"""A second implementation of whist-ratchet, for its tests.

Written from Signal's PQXDH (revision 3) and Double Ratchet (sections 4 and 5: header encryption,
sparse post-quantum ratchet), and from the format in ../../README.md. It shares no code with the
Rust crate.

    peer.py write DIR        writes the transcripts that tests/transcripts.rs replays
    peer.py check FILE...    replays transcripts, sealing each item again and comparing every byte
"""

import base64, copy, hashlib, hmac, json, pathlib, random, struct, sys

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from kyber_py.ml_kem import ML_KEM_768
from nacl.secret import Aead as XChaCha20

ITEM, BUNDLE, MAX_SKIP = 1536, 1538, 2000
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)

def derive_key(context, data):
    return blake3(data, derive_key_context=context).digest()

def seal(key, nonce, aad, text):
    return ChaCha20Poly1305(key).encrypt(nonce, text, aad)
def unseal(key, nonce, aad, text):
    """The plaintext, or None."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, text, aad)
    except InvalidTag:
        return None
def first_contact(k):
    return XChaCha20(derive_key("whist 2026 first contact v1", k))

def public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(*RAW)

def x25519(secret, point):
    """Raises ValueError where the result is not contributory."""
    key = X25519PrivateKey.from_private_bytes(secret)
    return key.exchange(X25519PublicKey.from_public_bytes(point))

def expand(count, salt, ikm, info):
    okm = HKDF(hashes.SHA256(), 32 * count, salt, info).derive(ikm)
    return [okm[i:i + 32] for i in range(0, len(okm), 32)]

def kdf_pqxdh(*secrets):
    ikm = b"\xff" * 32 + b"".join(secrets)
    return expand(4, bytes(32), ikm, b"Whist_CURVE25519_SHA-256_ML-KEM-768")
def kdf_rk(root, shared):
    return expand(3, root, shared, b"whist 2026 double ratchet root v1")
def kdf_ck(chain):
    step = lambda byte: hmac.new(chain, byte, hashlib.sha256).digest()
    return step(b"\2"), step(b"\1")
def kdf_hybrid(classical, sparse):
    return expand(1, sparse, classical, b"whist 2026 triple ratchet message v1")[0]

class Identity:
    def __init__(self, seed):
        self.signing = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.signing.public_key().public_bytes(*RAW)
        self.exchange = hashlib.sha512(seed).digest()[:32]
    @staticmethod
    def montgomery(key):
        p = 2**255 - 19
        y = int.from_bytes(key, "little") % 2**255
        return ((1 + y) * pow(1 - y, -1, p) % p).to_bytes(32, "little")

# --- Bundle and invitation
PREKEY_LABEL = b"whist 2026 prekey v1"

class Prekeys:
    def __init__(self, identity, provider, address, rng):
        self.prekey, seed, unique = rng(32), rng(64), rng(32)
        kem_key, self.kem_secret = ML_KEM_768.key_derive(seed)
        sign = lambda kind, key: identity.signing.sign(PREKEY_LABEL + kind + key)
        prekey = public(self.prekey)
        self.bundle = b"".join((
            b"\1", identity.public, prekey, sign(b"\2", prekey), kem_key, sign(b"\3", kem_key),
            provider, address, unique, b"\1\0")).ljust(BUNDLE, b"\0")

class Bundle:
    def __init__(self, data):
        assert len(data) == BUNDLE and data[0] == 1
        assert data[1473:] == b"\1" + bytes(64)  # One device, which is 0, and padding.
        self.identity, self.prekey, self.kem_key = data[1:33], data[33:65], data[129:1313]
        verify = Ed25519PublicKey.from_public_bytes(self.identity).verify
        verify(data[65:129], PREKEY_LABEL + b"\2" + self.prekey)
        verify(data[1313:1377], PREKEY_LABEL + b"\3" + self.kem_key)
        self.k = bundle_key(data)

def bundle_key(data):
    return derive_key("whist 2026 invitation bundle v1", data)

# --- PQXDH and Double Ratchet
class Refused(Exception):
    """An item that does not open, and why."""

class Sparse:
    """Section 5, to the letter: a chain for each epoch and direction, and skipped keys of its own.
    A turn is due, offer, collect or answer."""
    SIZES = {"offer": 1184, "answer": 1088}
    def __init__(self, initiator, secret):
        self.initiator, self.skipped, self.receive, self.later = initiator, {}, {}, None
        start = b"whist 2026 sparse ratchet start v1"
        self.send = self.chains(0, expand(3, bytes(32), secret, start))
        self.turn, self.got = "due" if initiator else "collect", {}
    def chains(self, epoch, keys):
        self.root, *pair = keys
        send, self.receive[epoch] = pair if self.initiator else pair[::-1]
        self.receive[epoch] = [self.receive[epoch], 0]
        return [epoch, send, 0]
    def advance(self, shared):
        info = b"whist 2026 sparse ratchet epoch v1"
        return self.chains(self.send[0] + 1, expand(3, self.root, shared, info))
    @staticmethod
    def step(key, number):
        info = b"whist 2026 sparse ratchet chain v1" + number.to_bytes(4, "big")
        return expand(2, bytes(32), key, info)
    def whole(self, turn):
        size = self.SIZES[turn]
        return len(self.got) == size and bytes(self.got[i] for i in range(size))
    def seal(self, room, rng):
        """The key, the header's part and the fragment."""
        key = self.turn == "collect" and not self.later and self.whole("offer")
        if self.turn == "due":
            key, self.secret = ML_KEM_768.key_derive(rng(64))
            self.turn, self.out, self.acked, self.next, self.got = "offer", key, 0, 0, {}
        elif key:
            shared, self.out = ML_KEM_768._encaps_internal(key, rng(32))
            self.later = self.advance(shared)
            self.turn, self.acked, self.next = "answer", 0, 0
        epoch, chain, number = self.send
        chain, mk = self.step(chain, number)
        self.send, part, start = [epoch, chain, number + 1], b"", 0xFFFF
        if self.turn in self.SIZES:
            at = self.acked if self.next >= len(self.out) else max(self.next, self.acked)
            part = self.out[at:at + room]
            if part:
                start, self.next = at, at + len(part)
        prefix = next(i for i in range(1185) if i not in self.got)
        have = {"due": 0, "answer": 1184}.get(self.turn, prefix)
        return mk, struct.pack(">IIHHHH", epoch, number, start, have, 1, 0), part
    def key(self, epoch, number):
        if epoch not in self.receive:
            raise Refused("malformed")
        while self.receive[epoch][1] <= number:
            chain, at = self.receive[epoch]
            chain, self.skipped[epoch, at] = self.step(chain, at)
            self.receive[epoch] = [chain, at + 1]
        if self.later and epoch == self.later[0]:
            self.send, self.later, self.turn = self.later, None, "due"
        return self.skipped.pop((epoch, number))
    def take(self, header, room):
        """Takes what rides in an item; returns what is left of the room."""
        epoch, _, start, have, devices, _ = struct.unpack(">IIHHHH", header[40:])
        kind = "offer" if (epoch % 2 == 0) != self.initiator else "answer"
        size = min(len(room), self.SIZES[kind] - start) if start != 0xFFFF else 0
        if epoch == self.send[0]:
            if self.turn in self.SIZES:
                self.acked = max(self.acked, have)
            if (self.turn, kind) in (("collect", "offer"), ("offer", "answer")):
                self.got.update((start + i, room[i]) for i in range(size))
            if self.turn == "offer" and self.whole("answer"):
                self.send = self.advance(ML_KEM_768.decaps(self.secret, self.whole("answer")))
                self.turn, self.got = "collect", {}
        return room[size:]

class Session:
    """The state of section 4.2, with the specification's names."""
    def __init__(self):
        self.cks = self.ckr = self.hks = self.hkr = None
        self.ns = self.nr = self.pn = 0
        self.skipped = {}
    @classmethod
    def initiate(cls, identity, bundle, text, rng):
        ephemeral = rng(32)
        secret, ciphertext = ML_KEM_768._encaps_internal(bundle.kem_key, rng(32))
        sk, hka, nhkb, sparse = kdf_pqxdh(
            x25519(identity.exchange, bundle.prekey),
            x25519(ephemeral, Identity.montgomery(bundle.identity)),
            x25519(ephemeral, bundle.prekey), secret)
        self = cls()
        self.ad = b"\1" + identity.public + b"\1" + bundle.identity + bundle.k
        self.dhs = rng(32)
        self.rk, self.cks, self.nhks = kdf_rk(sk, x25519(self.dhs, bundle.prekey))
        self.hks, self.nhkr, self.sparse = hka, nhkb, Sparse(True, sparse)
        message = self.encrypt(text, 243, rng)
        inner = b"\1" + identity.public + public(ephemeral) + ciphertext + message
        nonce = rng(24)
        return self, nonce + first_contact(bundle.k).encrypt(inner, b"", nonce).ciphertext
    @classmethod
    def accept(cls, identity, prekeys, item, rng):
        k = bundle_key(prekeys.bundle)
        inner = first_contact(k).decrypt(item[24:], b"", item[:24])
        theirs, ephemeral, ciphertext = inner[1:33], inner[33:65], inner[65:1153]
        sk, hka, nhkb, sparse = kdf_pqxdh(
            x25519(prekeys.prekey, Identity.montgomery(theirs)),
            x25519(identity.exchange, ephemeral),
            x25519(prekeys.prekey, ephemeral),
            ML_KEM_768.decaps(prekeys.kem_secret, ciphertext))
        self = cls()
        self.ad = b"\1" + theirs + b"\1" + identity.public + k
        self.dhs, self.rk, self.nhks, self.nhkr = prekeys.prekey, sk, nhkb, hka
        self.sparse = Sparse(False, sparse)
        return self, self.decrypt(inner[1153:], rng)
    def encrypt(self, text, size, rng):
        device, consensus, body = text
        pq, note, fragment = self.sparse.seal(size - 36 - len(body), rng)
        plaintext = bytes((1, device)) + consensus + len(body).to_bytes(2, "big") + body
        self.cks, mk = kdf_ck(self.cks)
        header = public(self.dhs) + struct.pack(">II", self.pn, self.ns) + note
        self.ns += 1
        nonce = rng(12)
        sealed = seal(self.hks, nonce, b"", header)
        plaintext = (plaintext + fragment).ljust(size, b"\0")
        return nonce + sealed + seal(kdf_hybrid(mk, pq), nonce, self.ad + sealed, plaintext)
    def decrypt(self, message, rng):
        nonce, sealed, body = message[:12], message[12:84], message[84:]
        mk, header = self.find(nonce, sealed, rng)
        mk = kdf_hybrid(mk, self.sparse.key(*struct.unpack(">II", header[40:48])))
        data = unseal(mk, nonce, self.ad + sealed, body)
        if data is None:
            raise Refused("altered")
        end = 36 + int.from_bytes(data[34:36], "big")
        if data[0] != 1 or any(self.sparse.take(header, data[end:])):
            raise Refused("malformed")
        return data[1], data[2:34], data[36:end]
    def find(self, nonce, sealed, rng):
        """TrySkippedMessageKeysHE, DecryptHeader and what follows them."""
        for hk, number in list(self.skipped):
            header = unseal(hk, nonce, b"", sealed)
            if header and number == int.from_bytes(header[36:40], "big"):
                return self.skipped.pop((hk, number)), header
        header = self.hkr and unseal(self.hkr, nonce, b"", sealed)
        if not header:
            header = unseal(self.nhkr, nonce, b"", sealed)
            if not header:
                raise Refused("not for us")
            self.skip(int.from_bytes(header[32:36], "big"))
            self.step(header[:32], rng)
        number = int.from_bytes(header[36:40], "big")
        if number < self.nr:
            raise Refused("replayed")
        self.skip(number)
        self.ckr, mk = kdf_ck(self.ckr)
        self.nr += 1
        return mk, header
    def skip(self, until):
        if until > self.nr + MAX_SKIP:
            raise Refused("too many skipped")
        while self.ckr and self.nr < until:
            self.ckr, self.skipped[self.hkr, self.nr] = kdf_ck(self.ckr)
            self.nr += 1
    def step(self, theirs, rng):
        self.pn, self.ns, self.nr = self.ns, 0, 0
        self.hks, self.hkr = self.nhks, self.nhkr
        self.rk, self.ckr, self.nhkr = kdf_rk(self.rk, x25519(self.dhs, theirs))
        self.dhs = rng(32)
        self.rk, self.cks, self.nhks = kdf_rk(self.rk, x25519(self.dhs, theirs))

# --- Transcripts
class Draws:
    """Random bytes from a given stream, with a record of what was drawn."""
    def __init__(self, stream):
        self.rest, self.drawn = stream, b""
    def __call__(self, size):
        assert len(self.rest) >= size, "more randomness drawn than recorded"
        out, self.rest = self.rest[:size], self.rest[size:]
        self.drawn += out
        return out
    def take(self):
        drawn, self.drawn = self.drawn, b""
        return drawn.hex()

def perform(people, sessions, step, items, text, rng):
    """Does one step; returns the item that it sealed or the text that it opened."""
    do, who, item = step["do"], step["who"], step["item"]
    if do == "initiate":
        sessions[who], result = Session.initiate(people[who], people["bundle"], text, rng)
    elif do == "accept":
        sessions[who], result = Session.accept(people[who], people["prekeys"], items[item], rng)
    elif do == "seal":
        result = sessions[who].encrypt(text, ITEM - 100, rng)
    else:  # Opening may fail half way, and then nothing must have happened.
        attempt = copy.deepcopy(sessions[who])
        result = attempt.decrypt(items[item], rng)
        sessions[who] = attempt
    return result
def text_of(item):
    return item["device"], bytes.fromhex(item["consensus"]), bytes.fromhex(item["body"])

def start(t, rng):
    people = {who: Identity(bytes.fromhex(t[who])) for who in ("alice", "bob")}
    provider, address = bytes.fromhex(t["provider"]), bytes.fromhex(t["address"])
    people["prekeys"] = Prekeys(people["bob"], provider, address, rng)
    data = people["prekeys"].bundle
    people["bundle"] = Bundle(data)
    k = bundle_key(data)
    blob = seal(derive_key("whist 2026 invitation seal v1", k), bytes(12), b"", data)
    text = b"\1" + provider + k
    text += derive_key("whist 2026 invitation text v1", text)[:4]
    return people, {
        "bundle": data.hex(), "k": k.hex(), "blob": blob.hex(),
        "drop_id": derive_key("whist 2026 invitation drop id v1", k).hex(),
        "invitation": "whist:" + base64.b32encode(text).decode().rstrip("=").lower()}

def write(name, script):
    """Runs a script of words: `a>` alice seals the next item, `b<3` bob opens item 3, `b!3` is
    refused it as a replay. Item 0 is the first item."""
    rng = Draws(hashlib.shake_256(name.encode()).digest(1 << 17))
    t = {"name": name, "written_by": "peer.py", "alice": rng(32).hex(), "bob": rng(32).hex(),
         "provider": rng(32).hex(), "address": rng(32).hex()}
    rng.take()
    people, made = start(t, rng)
    t.update(bundle_rng=rng.take(), **made)
    t["steps"], t["items"] = [], []
    sessions, items = {}, []
    verbs = {"+": "initiate", "=": "accept", ">": "seal", "<": "open", "!": "refuse"}
    for word in ["a+", "b=0", *script.split()]:
        n, text = len(items), None
        step = {"do": verbs[word[1]], "who": {"a": "alice", "b": "bob"}[word[0]],
                "item": int(word[2:] or n)}
        if word[1] in "+>":
            body = (f"{name}: {n} ".encode() * n)[:1360]
            consensus = hashlib.sha256(body).hexdigest()
            t["items"].append({"device": n, "consensus": consensus, "body": body.hex()})
            text = text_of(t["items"][-1])
        try:
            result = perform(people, sessions, step, items, text, rng)
            assert word[1] != "!", word
        except Refused as refused:
            assert word[1] == "!", (word, refused)
            step["error"] = str(refused)
        if text:
            items.append(result)
            t["items"][-1]["bytes"] = result.hex()
        step["rng"] = rng.take()
        t["steps"].append(step)
    return t

def check(t):
    rng = Draws(bytes.fromhex(t["bundle_rng"]))
    people, made = start(t, rng)
    assert not rng.rest
    for field, value in made.items():
        assert t[field] == value, f"{field} differs"
    items, sessions = [bytes.fromhex(item["bytes"]) for item in t["items"]], {}
    for step in t["steps"]:
        rng = Draws(bytes.fromhex(step["rng"]))
        text = text_of(t["items"][step["item"]])
        try:
            result = perform(people, sessions, step, items, text, rng)
        except Refused as refused:
            assert "error" in step, (step, refused)
            continue
        want = items[step["item"]] if step["do"] in ("initiate", "seal") else text
        assert result == want and "error" not in step and not rng.rest, step

def wild(seed, steps):
    """A random walk in which items are lost, late, replayed, and opened in any order."""
    dice, out, flying, count = random.Random(seed), [], {"a": [], "b": []}, 1
    for _ in range(steps):
        who, other = dice.sample("ab", 2)
        if dice.random() < 0.35 or not flying[who]:
            out.append(f"{who}>")
            flying[other].append(count)
            count += 1
        else:
            item = flying[who].pop(dice.randrange(len(flying[who])))
            out += [f"{who}<{item}", f"{who}!{item}"][:dice.choice((0, 1, 1, 2))]
    return " ".join(out)

SCRIPTS = {
    "in_order": "b> a<1 a> b<2 b> a<3 a> a> b<4 b<5 b> b> b> a<6 a<7 a<8",
    "out_of_order": "a> a> a> b<3 b<1 b<2 b> b> a<5 a<4 a> b<6 b!3 b!6",
    "lost": "a> a> b<2 b> b> b> a<5 a> a> a> b<8 b> a<9 a!9",
    "late_chains": "a> a> b> a<3 a> a> b> b<5 a<6 a> b<7 b<1 b<4 b<2 b!1 b!4",
    "wild": wild(2026, 100),
}

def main(arguments):
    if arguments[:1] not in (["write"], ["check"]) or len(arguments) < 2:
        sys.exit(__doc__)
    verb, *paths = [arguments[0], *map(pathlib.Path, arguments[1:])]
    for name, script in SCRIPTS.items() if verb == "write" else ():
        text = json.dumps(write(name, script), indent=1)
        (paths[0] / f"python_{name}.json").write_text(text + "\n")
    for path in paths if verb == "check" else ():
        check(json.loads(path.read_text()))

if __name__ == "__main__":
    main(sys.argv[1:])
