// Counts tokens: node tokens.mjs NODE_MODULES < TEXTS, a JSON array. Prints an array with, for each text, the tokens of
// the tokenizer that makes the most of it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const { getTokenizer } = require("@anthropic-ai/tokenizer");
const { get_encoding } = require("tiktoken");
const claude = getTokenizer();
const openai = ["cl100k_base", "o200k_base"].map((name) => get_encoding(name));
const count = (text) =>
  Math.max(claude.encode(text.normalize("NFKC"), "all").length, ...openai.map((one) => one.encode(text, [], []).length));
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(count)));
