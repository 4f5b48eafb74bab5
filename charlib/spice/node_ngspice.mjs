// Runs one deck on the npm package eecircuit-engine and writes its vectors as JSON; the log goes to standard output.
// usage: node node_ngspice.mjs ENGINE_FILE DECK RESULT [NGBEHAVIOR]; RESULT: {seconds, names, values}
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [engineFile, deckFile, resultFile, mode] = process.argv.slice(2);
const { Simulation } = await import(pathToFileURL(resolve(engineFile)).href);
const simulation = new Simulation();
await simulation.start();
simulation.setNetList(readFileSync(deckFile, "utf-8"));
// the mode must be set before the deck is read, and the package offers no other way; after the idle first command
if (mode) simulation.commandList.splice(1, 0, `set ngbehavior=${mode}`);

// a run without a result never settles: node then ends with status 13, and this tells why
process.on("exit", () => console.log(simulation.getInfo()));

const begin = performance.now();
const result = await simulation.runSim();
const seconds = (performance.now() - begin) / 1000;
if (result.dataType !== "real") throw new Error(`the result is ${result.dataType}, not real`);
const names = result.data.map((vector) => vector.name);
const values = result.data.map((vector) => vector.values);
writeFileSync(resultFile, JSON.stringify({ seconds, names, values }));
process.exit(0);
