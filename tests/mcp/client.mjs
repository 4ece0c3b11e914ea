// A client of MCP as a host has it: node client.mjs CLIENT TRANSPORT URL TOKEN, where the first two are modules of the
// SDK. Prints what it was told, as JSON.
const [clientModule, transportModule, url, token] = process.argv.slice(2);
const { Client } = await import(clientModule);
const { StreamableHTTPClientTransport } = await import(transportModule);
const requestInit = { headers: { Authorization: `Bearer ${token}` } };
const client = new Client({ name: "test", version: "1" }, { capabilities: {} });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
const { tools } = await client.listTools();
const good = await client.callTool({ name: "get_issue", arguments: { issue_id: "PAY-READY-1" } });
const bad = await client.callTool({ name: "get_issue", arguments: { issue_id: "PAY-READY-2" } });
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), good, bad }));
await client.close();
process.exit(0);
