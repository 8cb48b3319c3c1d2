// Asks a contract through secretjs, as {url, contract, code_hash, query} on
// standard input say, and prints {answer} or {error}. With {seed, io, code_hash,
// message} it only encrypts, and prints {sealed} in hex.
const { SecretNetworkClient, EncryptionUtilsImpl } = require("secretjs");

async function main() {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const q = JSON.parse(text);
  if (q.seed) {
    const utils = new EncryptionUtilsImpl("", Uint8Array.from(Buffer.from(q.seed, "hex")));
    utils.consensusIoPubKey = Uint8Array.from(Buffer.from(q.io, "hex"));
    const sealed = await utils.encrypt(q.code_hash, q.message);
    return { sealed: Buffer.from(sealed).toString("hex") };
  }
  const client = new SecretNetworkClient({ url: q.url, chainId: "secret-4" });
  const answer = await client.query.compute.queryContract({
    contract_address: q.contract, code_hash: q.code_hash, query: q.query,
  });
  return { answer };
}

main().then((out) => console.log(JSON.stringify(out)), (err) => { console.log(JSON.stringify({ error: err instanceof Error ? String(err) : JSON.stringify(err) })); });
