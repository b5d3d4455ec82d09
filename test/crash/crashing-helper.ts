// A helper that starts, and dies at once.
process.on("message", () => process.send?.({ type: "started" }, () => process.exit(70)));

export {};
