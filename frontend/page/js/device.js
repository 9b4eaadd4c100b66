// What the order says about where it comes from.

const APP_VERSION = "1.0.0";

export function describeDevice() {
  const agent = navigator.userAgent;
  const [, name, version] = agent.match(/(Edg|Firefox|Chrome|Safari)\/([\d.]+)/) ?? [null, "unknown", ""];
  const system = agent.match(/Android|iPhone|iPad|Windows|Mac OS X|Linux/)?.[0] ?? "unknown";
  return {
    device: { type: /Mobi/.test(agent) ? "Mobile" : "Desktop", model: system, os: system },
    browser: { name, version },
    appVersion: APP_VERSION,
    screenResolution: `${screen.width}x${screen.height}`,
    referrer: document.referrer.slice(0, 500),
    deviceLanguage: navigator.language,
  };
}
