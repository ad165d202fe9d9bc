// Sixteen by sixteen, one stroke, no colour of their own.

const PATHS = {
  overview: "M2.5 9.5v4M6.2 5.5v8M9.8 8v5.5M13.5 2.5v11",
  flow: "M2 4h3c3.5 0 2.5 8 6 8h3M2 12h3c1.2 0 1.9-.9 2.4-2M9.2 6c.4-1.2.9-2 1.8-2h3",
  tenants: "M6 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM1.5 13.5c.4-2.6 2-4 4.5-4s4.1 1.4 4.5 4M10.5 2.8a2.4 2.4 0 0 1 0 4.5M12.3 9.8c1.3.6 2 1.9 2.2 3.7",
  workers: "M3 2.5h10a1 1 0 0 1 1 1v3a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1v-3a1 1 0 0 1 1-1ZM3 8.5h10a1 1 0 0 1 1 1v3a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1v-3a1 1 0 0 1 1-1ZM4.8 5h.01M4.8 11h.01",
  policies: "M2 4h6M12 4h2M2 12h2M8 12h6M10 6a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM6 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  jobs: "M5.5 4H14M5.5 8H14M5.5 12H14M2 4h.01M2 8h.01M2 12h.01",
  models: "M8 1.8 13.8 5 8 8.2 2.2 5 8 1.8ZM2.2 8 8 11.2 13.8 8M2.2 11 8 14.2 13.8 11",
  lab: "M6 2h4M6.8 2v4L3 12.4A1.2 1.2 0 0 0 4 14.2h8a1.2 1.2 0 0 0 1-1.8L9.2 6V2M5 10h6",
  playground: "M2.5 3.5h11v8h-6l-3 2.5v-2.5h-2v-8ZM5.5 7.5h5",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z",
  key: "M6 10.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM9 8.5l5 5M11.5 11l1.5-1.5",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.7 10.7 14 14",
  close: "M4 4l8 8M12 4l-8 8",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3.2v9.6L12.5 8 5 3.2Z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.4"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Three layers, seen from aside. */
export function Mark() {
  return (
    <svg width="22" height="22" viewBox="0 0 22 22" fill="none" strokeWidth="2.8" strokeLinecap="round" aria-hidden="true">
      <path d="M3 5.5h9" stroke="var(--c1)" />
      <path d="M7 11h12" stroke="var(--c2)" />
      <path d="M3 16.5h7" stroke="var(--c3)" />
    </svg>
  );
}
