// The official OpenAI client for Node against the gateway at BASE_URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Who are you?" }];

test("chat", async () => {
  const got = await client.chat.completions.create({ model: "mymodel", messages });
  assert.equal(got.model, "mymodel");
  assert.equal(got.choices[0].finish_reason, "stop");
  assert.ok(got.usage.completion_tokens > 0);
});

test("stream with usage", async () => {
  const stream = await client.chat.completions.create({
    model: "travelhelper", messages, stream: true, stream_options: { include_usage: true },
  });
  let chunks = 0, usage, text = "";
  for await (const chunk of stream) {
    chunks++;
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
    assert.match(chunk.model, /^travel-helper-v[12]$/);
  }
  assert.ok(chunks >= 10);
  assert.ok(text.length > 0);
  assert.ok(usage.completion_tokens > 0);
});

test("unknown model", async () => {
  await assert.rejects(client.chat.completions.create({ model: "nobody", messages }),
    (e) => e.status === 404 && e.code === "model_not_found");
});

test("cancelled stream", async () => {
  const stream = await client.chat.completions.create({ model: "mymodel", messages, stream: true, max_tokens: 4000, ignore_eos: true });
  let chunks = 0;
  for await (const _ of stream) {
    if (++chunks === 3) stream.controller.abort();
  }
  assert.ok(chunks >= 3);
});
