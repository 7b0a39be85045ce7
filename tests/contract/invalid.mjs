// What a caller of the JavaScript client catches when a field is wrong.
import { fal, ValidationError } from "@fal-ai/client";

fal.config({ proxyUrl: { url: process.env.PROXY_URL, when: "always" } });

try {
  await fal.subscribe("fal-ai/wan/v2.2-a14b/text-to-video", {
    input: { ...JSON.parse(process.env.INPUT), num_frames: 5 },
  });
} catch (error) {
  console.log(
    JSON.stringify({
      isValidationError: error instanceof ValidationError,
      status: error.status,
      fields: error.getFieldErrors("num_frames"),
    }),
  );
}
