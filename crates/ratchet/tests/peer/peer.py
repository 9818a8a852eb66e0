#!/usr/bin/env python3
"""A second implementation of whist-ratchet, for its tests.

Written from Signal's PQXDH (revision 3) and Double Ratchet (section 4, header encryption), and from
the format in ../../README.md. It shares no code with the Rust crate.

    peer.py write DIR        writes the transcripts that tests/transcripts.rs replays
    peer.py check FILE...    replays transcripts, sealing each item again and comparing every byte
"""

import base64, copy, hashlib, hmac, json, pathlib, random, struct, sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from kyber_py.ml_kem import ML_KEM_768

ITEM, BUNDLE, MAX_SKIP = 1536, 1538, 2000
M32 = 0xFFFFFFFF
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)

# --- BLAKE3 in its key derivation mode, and HChaCha20: neither is in `cryptography`
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
      0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
ROUND = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))

def words(data):
    return struct.unpack(f"<{len(data) // 4}I", data)

def from_words(values):
    return struct.pack(f"<{len(values)}I", *values)

def rotate_right(x, n):
    return ((x >> n) | (x << (32 - n))) & M32

def quarter(v, a, b, c, d, turns, x=0, y=0):
    for add, turn_d, turn_b in ((x, *turns[:2]), (y, *turns[2:])):
        v[a] = (v[a] + v[b] + add) & M32
        v[d] = rotate_right(v[d] ^ v[a], turn_d)
        v[c] = (v[c] + v[d]) & M32
        v[b] = rotate_right(v[b] ^ v[c], turn_b)

def compress(cv, block, counter, flags):
    m = words(block.ljust(64, b"\0"))
    v = [*cv, *IV[:4], counter & M32, counter >> 32, len(block), flags]
    for _ in range(7):
        for i, columns in enumerate(ROUND):
            quarter(v, *columns, (16, 12, 8, 7), m[2 * i], m[2 * i + 1])
        m = tuple(m[i] for i in PERMUTATION)
    return tuple(v[i] ^ v[i + 8] for i in range(8))

def tree(key, data, flags, counter=0, root=8):
    """The chaining value of a subtree that begins at chunk `counter`."""
    if len(data) <= 1024:
        blocks, cv = [data[i:i + 64] for i in range(0, len(data), 64)], key
        for i, block in enumerate(blocks):
            last = i == len(blocks) - 1
            cv = compress(cv, block, counter, flags | (i == 0) | (2 | root if last else 0))
        return cv
    half = 1 << (((len(data) - 1) // 1024).bit_length() - 1)
    left = tree(key, data[:half * 1024], flags, counter, 0)
    right = tree(key, data[half * 1024:], flags, counter + half, 0)
    return compress(key, from_words(left + right), 0, flags | 4 | root)

def derive_key(context, data):
    return from_words(tree(tree(IV, context.encode(), 32), data, 64))

def hchacha20(key, nonce16):
    v = [*words(b"expand 32-byte k"), *words(key), *words(nonce16)]
    for _ in range(10):
        for columns in ROUND:
            quarter(v, *columns, (16, 20, 24, 25))
    return from_words(v[:4] + v[12:])

# --- Primitives
def seal(key, nonce, aad, text):
    return ChaCha20Poly1305(key).encrypt(nonce, text, aad)

def unseal(key, nonce, aad, text):
    """The plaintext, or None."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, text, aad)
    except InvalidTag:
        return None

def first_contact(k, nonce24):
    """Key and nonce that make ChaCha20-Poly1305 of XChaCha20-Poly1305."""
    key = derive_key("whist 2026 first contact v1", k)
    return hchacha20(key, nonce24[:16]), bytes(4) + nonce24[16:]

def public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(*RAW)

def x25519(secret, point):
    """Raises ValueError where the result is not contributory."""
    key = X25519PrivateKey.from_private_bytes(secret)
    return key.exchange(X25519PublicKey.from_public_bytes(point))

def three(salt, ikm, info):
    okm = HKDF(hashes.SHA256(), 96, salt, info).derive(ikm)
    return okm[:32], okm[32:64], okm[64:]

def kdf_pqxdh(*secrets):
    ikm = b"\xff" * 32 + b"".join(secrets)
    return three(bytes(32), ikm, b"Whist_CURVE25519_SHA-256_ML-KEM-768")

def kdf_rk(root, shared):
    return three(root, shared, b"whist 2026 double ratchet root v1")

def kdf_ck(chain):
    step = lambda byte: hmac.new(chain, byte, hashlib.sha256).digest()
    return step(b"\2"), step(b"\1")

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
            provider, address, unique)).ljust(BUNDLE, b"\0")

class Bundle:
    def __init__(self, data):
        assert len(data) == BUNDLE and data[0] == 1 and not any(data[1473:])
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

def pad(text, size):
    device, consensus, body = text
    head = bytes((1, device)) + consensus + len(body).to_bytes(2, "big")
    return (head + body).ljust(size, b"\0")

def unpad(data):
    length = int.from_bytes(data[34:36], "big")
    if data[0] != 1 or any(data[36 + length:]):
        raise Refused("malformed")
    return data[1], data[2:34], data[36:36 + length]

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
        sk, hka, nhkb = kdf_pqxdh(
            x25519(identity.exchange, bundle.prekey),
            x25519(ephemeral, Identity.montgomery(bundle.identity)),
            x25519(ephemeral, bundle.prekey), secret)
        self = cls()
        self.ad = b"\1" + identity.public + b"\1" + bundle.identity + bundle.k
        self.dhs = rng(32)
        self.rk, self.cks, self.nhks = kdf_rk(sk, x25519(self.dhs, bundle.prekey))
        self.hks, self.nhkr = hka, nhkb
        message = self.encrypt(pad(text, 259), rng)
        inner = b"\1" + identity.public + public(ephemeral) + ciphertext + message
        nonce = rng(24)
        return self, nonce + seal(*first_contact(bundle.k, nonce), b"", inner)

    @classmethod
    def accept(cls, identity, prekeys, item, rng):
        k = bundle_key(prekeys.bundle)
        inner = unseal(*first_contact(k, item[:24]), b"", item[24:])
        if inner is None or inner[0] != 1:
            raise Refused("not for us")
        theirs, ephemeral, ciphertext = inner[1:33], inner[33:65], inner[65:1153]
        sk, hka, nhkb = kdf_pqxdh(
            x25519(prekeys.prekey, Identity.montgomery(theirs)),
            x25519(identity.exchange, ephemeral),
            x25519(prekeys.prekey, ephemeral),
            ML_KEM_768.decaps(prekeys.kem_secret, ciphertext))
        self = cls()
        self.ad = b"\1" + theirs + b"\1" + identity.public + k
        self.dhs, self.rk, self.nhks, self.nhkr = prekeys.prekey, sk, nhkb, hka
        return self, unpad(self.decrypt(inner[1153:], rng))

    def encrypt(self, plaintext, rng):
        self.cks, mk = kdf_ck(self.cks)
        header = public(self.dhs) + struct.pack(">II", self.pn, self.ns)
        self.ns += 1
        nonce = rng(12)
        sealed = seal(self.hks, nonce, b"", header)
        return nonce + sealed + seal(mk, nonce, self.ad + sealed, plaintext)

    def decrypt(self, message, rng):
        nonce, header, body = message[:12], message[12:68], message[68:]
        plaintext = unseal(self.find(nonce, header, rng), nonce, self.ad + header, body)
        if plaintext is None:
            raise Refused("altered")
        return plaintext

    def find(self, nonce, sealed, rng):
        """TrySkippedMessageKeysHE, DecryptHeader and what follows them."""
        for hk, number in list(self.skipped):
            header = unseal(hk, nonce, b"", sealed)
            if header and number == int.from_bytes(header[36:], "big"):
                return self.skipped.pop((hk, number))
        header = self.hkr and unseal(self.hkr, nonce, b"", sealed)
        if not header:
            header = unseal(self.nhkr, nonce, b"", sealed)
            if not header:
                raise Refused("not for us")
            self.skip(int.from_bytes(header[32:36], "big"))
            self.step(header[:32], rng)
        number = int.from_bytes(header[36:], "big")
        if number < self.nr:
            raise Refused("replayed")
        self.skip(number)
        self.ckr, mk = kdf_ck(self.ckr)
        self.nr += 1
        return mk

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
        result = sessions[who].encrypt(pad(text, ITEM - 84), rng)
    else:  # Opening may fail half way, and then nothing must have happened.
        attempt = copy.deepcopy(sessions[who])
        result = unpad(attempt.decrypt(items[item], rng))
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
            body = (f"{name}: {n} ".encode() * n)[:1376]
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
