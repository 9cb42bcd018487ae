// Runs main.js and gives back the key (descriptor 4 to 3) when it has come to its end: where it exports a promise, when that is kept.
//
// A `return` outside of functions, which would end the program before its tests, is an error. The key lives in this module's scope, which no other code can read; the source is gone from the disk before it runs,
// and the assertions cannot be replaced.
"use strict";
const fs = require("fs");
const Module = require("module");
const path = require("path");
const vm = require("vm");

const key = fs.readFileSync(4);
fs.closeSync(4);
const write = fs.writeSync;
const { then } = Promise.prototype;
const file = path.resolve("main.js");
const text = fs.readFileSync(file, "utf8");
fs.unlinkSync(file);
new vm.Script(text, { filename: file }); // as a script it has no function around it to return from

const assert = require("assert");
for (const each of [assert, assert.strict, assert.AssertionError.prototype]) Object.freeze(each);
Object.freeze(Module);
Object.freeze(Module.prototype);

const main = new Module(file, null);
main.id = ".";
main.filename = file;
main.paths = [];
process.mainModule = main;
process.argv[1] = file;
main._compile(text, file);
if (main.exports instanceof Promise) then.call(main.exports, () => write(3, key));
else write(3, key);
