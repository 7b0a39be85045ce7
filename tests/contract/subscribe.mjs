// The sample of the hosted API page, with one line added in front: where the server is.
import { fal } from "@fal-ai/client";

fal.config({ proxyUrl: { url: process.env.PROXY_URL, when: "always" } });

const logs = [];
const result = await fal.subscribe("fal-ai/wan/v2.2-a14b/text-to-video", {
  input: JSON.parse(process.env.INPUT),
  logs: true,
  onQueueUpdate: (update) => {
    if (update.status === "IN_PROGRESS") {
      update.logs.map((log) => log.message).forEach((message) => logs.push(message));
    }
  },
});
console.log(JSON.stringify({ data: result.data, requestId: result.requestId, logs }));
