// A second implementation of the seal, on hpke-js (HPKE with MLKEM768-X25519) under Node 20; written from docs/packet.md and RFC 9180.
//
//   npm install @hpke/core@1.9.0 @hpke/hybridkem-x-wing@0.7.0      in any folder
//   PASSBOOTH_HPKE_NODE_MODULES=FOLDER/node_modules node make_second_hpke.mjs < request.json > answer.json
//
// make_vectors.py makes hpke_xwing_second.json in this way; tests/unit/test_interop_hpke.py asks live when the variable is set.
// One JSON object in, one out; bytes are hex:
//   {"do": "public", "seed"}                             -> {"public"}
//   {"do": "seal", "public", "info", "plain"}            -> {"sealed"}       HPKE alone: encapsulation, ciphertext, tag
//   {"do": "open", "seed", "info", "sealed"}             -> {"plain"}
//   {"do": "seal_packet", "publics", "fields", "plain"}  -> {"packet"}       fields: booth, created_at, packet_id
//   {"do": "open_packet", "seed", "packet"}              -> {"plain", "header"}
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const folder = process.env.PASSBOOTH_HPKE_NODE_MODULES;
if (!folder) throw new Error("PASSBOOTH_HPKE_NODE_MODULES must name a node_modules folder");
const require = createRequire(`${folder}/`);
const { Aes256Gcm, CipherSuite, HkdfSha256 } = require("@hpke/core");
const { XWing } = require("@hpke/hybridkem-x-wing");

const MAGIC = Buffer.from("8950424f4f54480d0a1a0a", "hex");
const SINGLE = "hpke-mlkem768-x25519-hkdf-sha256-aes-256-gcm";
const SHARED = `${SINGLE}+aes-256-gcm`;
const ENCAPSULATION_BYTES = 1120;
const TAG_BYTES = 16;
const NONCE = Buffer.alloc(12);

const suite = new CipherSuite({ kem: new XWing(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const exact = (bytes) => Uint8Array.from(bytes).buffer;
const keyId = (raw) => createHash("sha256").update(raw).digest("hex").slice(0, 32);
const commitment = (key) => createHash("sha256").update("passbooth content key").update(key).digest("hex");

/** Canonical JSON of the values that a header is made of. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

function framed(header) {
  const text = Buffer.from(canonical(header), "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([MAGIC, length, text]);
}

async function hpkeSeal(raw, info, plain) {
  const recipientPublicKey = await suite.kem.deserializePublicKey(exact(raw));
  const sender = await suite.createSenderContext({ recipientPublicKey, info: exact(info) });
  const sealed = await sender.seal(exact(plain));
  return Buffer.concat([Buffer.from(new Uint8Array(sender.enc)), Buffer.from(new Uint8Array(sealed))]);
}

async function hpkeOpen(seed, info, sealed) {
  const recipientKey = await suite.kem.deserializePrivateKey(exact(seed));
  const enc = exact(sealed.subarray(0, ENCAPSULATION_BYTES));
  const recipient = await suite.createRecipientContext({ recipientKey, enc, info: exact(info) });
  return Buffer.from(await recipient.open(exact(sealed.subarray(ENCAPSULATION_BYTES))));
}

async function publicKey(seed) {
  const pair = await suite.kem.generateKeyPairDerand(new Uint8Array(seed));
  return Buffer.from(await suite.kem.serializePublicKey(pair.publicKey));
}

async function sealPacket(publics, fields, plain) {
  if (publics.length === 1) {
    const info = framed({ ...fields, version: 1, suite: SINGLE, recipient_key_id: keyId(publics[0]) });
    return Buffer.concat([info, await hpkeSeal(publics[0], info, plain)]);
  }
  const key = randomBytes(32);
  const people = publics.map((raw) => ({ raw, key_id: keyId(raw) })).sort((a, b) => (a.key_id < b.key_id ? -1 : 1));
  const header = { ...fields, version: 2, suite: SHARED, commitment: commitment(key) };
  const prefix = framed({ ...header, recipients: people.map(({ key_id }) => ({ key_id })) });
  const recipients = [];
  for (const { raw, key_id } of people) {
    recipients.push({ key_id, wrap: (await hpkeSeal(raw, prefix, key)).toString("base64url") });
  }
  const before = framed({ ...header, recipients });
  const cipher = createCipheriv("aes-256-gcm", key, NONCE).setAAD(before);
  return Buffer.concat([before, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

async function openPacket(seed, packet) {
  if (!packet.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error("magic");
  const start = MAGIC.length + 4;
  const end = start + packet.readUInt32BE(MAGIC.length);
  const header = JSON.parse(packet.toString("utf8", start, end));
  const before = packet.subarray(0, end);
  const body = packet.subarray(end);
  const mine = keyId(await publicKey(seed));
  if (!framed(header).equals(before)) throw new Error("canonical form");
  if (header.version === 1) {
    if (header.suite !== SINGLE || header.recipient_key_id !== mine) throw new Error("suite or recipient");
    return { header, plain: await hpkeOpen(seed, before, body) };
  }
  if (header.version !== 2 || header.suite !== SHARED) throw new Error("version or suite");
  const prefix = framed({ ...header, recipients: header.recipients.map(({ key_id }) => ({ key_id })) });
  const { wrap } = header.recipients.find(({ key_id }) => key_id === mine);
  const key = await hpkeOpen(seed, prefix, Buffer.from(wrap, "base64url"));
  if (commitment(key) !== header.commitment) throw new Error("commitment");
  const cipher = createDecipheriv("aes-256-gcm", key, NONCE).setAAD(before);
  cipher.setAuthTag(body.subarray(body.length - TAG_BYTES));
  const plain = Buffer.concat([cipher.update(body.subarray(0, body.length - TAG_BYTES)), cipher.final()]);
  return { header, plain };
}

const bytes = (hex) => Buffer.from(hex, "hex");
const hex = (buffer) => buffer.toString("hex");
const request = JSON.parse(readFileSync(0, "utf8"));
const answers = {
  public: async ({ seed }) => ({ public: hex(await publicKey(bytes(seed))) }),
  seal: async (r) => ({ sealed: hex(await hpkeSeal(bytes(r.public), bytes(r.info), bytes(r.plain))) }),
  open: async (r) => ({ plain: hex(await hpkeOpen(bytes(r.seed), bytes(r.info), bytes(r.sealed))) }),
  seal_packet: async (r) => ({ packet: hex(await sealPacket(r.publics.map(bytes), r.fields, bytes(r.plain))) }),
  open_packet: async (r) => {
    const { plain, header } = await openPacket(bytes(r.seed), bytes(r.packet));
    return { plain: hex(plain), header };
  },
};
console.log(JSON.stringify(await answers[request.do](request)));
