// Counts the tokens of the text on standard input: node tokens.mjs NODE_MODULES. Prints them by tokenizer, as JSON.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const require = createRequire(`${process.argv[2]}/`);
const text = readFileSync(0, "utf8");
const { countTokens } = require("@anthropic-ai/tokenizer");
const { get_encoding } = require("tiktoken");
const counted = { claude: countTokens(text) };
for (const name of ["cl100k_base", "o200k_base"]) counted[name] = get_encoding(name).encode(text, [], []).length;
console.log(JSON.stringify(counted));
