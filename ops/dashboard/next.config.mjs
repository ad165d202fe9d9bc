import { PHASE_DEVELOPMENT_SERVER } from "next/constants.js";

/** @type {import('next').NextConfig} */
const exported = {
  // The pages are exported as files; Parallax serves them, so that its users need no Node.
  output: "export",
  trailingSlash: true,
  images: { unoptimized: true },
  reactStrictMode: true,
  poweredByHeader: false,
  // A constant: two builds of the same source are the same bytes.
  generateBuildId: () => "parallax",
};

/** While one works on the pages, `npm run dev` asks the API of a dashboard that runs. */
const developed = {
  reactStrictMode: true,
  compress: false,
  skipTrailingSlashRedirect: true,
  allowedDevOrigins: ["127.0.0.1"],
  rewrites: async () => [
    { source: "/api/:path*", destination: `${process.env.DASHBOARD ?? "http://127.0.0.1:8090"}/api/:path*` },
  ],
};

export default (phase) => (phase === PHASE_DEVELOPMENT_SERVER ? developed : exported);
