import Link from "next/link";

export default function NotFound() {
  return (
    <section className="panel" aria-label="Not found">
      <div className="blank">
        <b>There is no such page</b>
        <p>
          The <Link prefetch={false} href="/">overview</Link> knows the way.
        </p>
      </div>
    </section>
  );
}
