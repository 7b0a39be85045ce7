// Submit, poll, fetch: the three calls of a program that does not wait. Then one that is cancelled.
import { fal } from "@fal-ai/client";

fal.config({ proxyUrl: { url: process.env.PROXY_URL, when: "always" } });

const endpoint = "fal-ai/wan/v2.2-a14b/text-to-video";
const input = JSON.parse(process.env.INPUT);
const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

async function completed(requestId) {
  for (;;) {
    const status = await fal.queue.status(endpoint, { requestId, logs: true });
    if (status.status === "COMPLETED") return status;
    await pause();
  }
}

const submitted = await fal.queue.submit(endpoint, { input });
const status = await completed(submitted.request_id);
const result = await fal.queue.result(endpoint, { requestId: submitted.request_id });

const dropped = await fal.queue.submit(endpoint, {
  input: { ...input, num_frames: 161, num_inference_steps: 40 },
});
await fal.queue.cancel(endpoint, { requestId: dropped.request_id });
await completed(dropped.request_id);
const end = await fal.queue
  .result(endpoint, { requestId: dropped.request_id })
  .catch((error) => ({ name: error.name, status: error.status }));

console.log(JSON.stringify({ submitted, status, result, end }));
