"use client";

import { useRouter, useSearchParams } from "next/navigation";
import { Suspense, useState } from "react";
import { JobView } from "@/components/job";
import { DeadLetters, OpenJobList } from "@/components/job-lists";
import { Bones, PageHead, Panel } from "@/components/parts";
import { Icon } from "@/components/icons";

export default function JobsPage() {
  return (
    <Suspense fallback={<Panel title="Jobs"><Bones /></Panel>}>
      <Jobs />
    </Suspense>
  );
}

function Jobs() {
  const id = useSearchParams().get("id") ?? "";
  return (
    <>
      <PageHead title="Jobs" tools={<Find key={id} id={id} />}>
        What waits and runs, and by its id whatever ended not too long ago: its life as a time line, and why that worker.
      </PageHead>
      {id ? (
        <JobView id={id} />
      ) : (
        <>
          <OpenJobList />
          <DeadLetters />
        </>
      )}
    </>
  );
}

function Find({ id }: { id: string }) {
  const router = useRouter();
  const [text, setText] = useState(id);
  return (
    <form
      className="tools"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        const wanted = text.trim();
        router.push(wanted ? `/jobs/?id=${encodeURIComponent(wanted)}` : "/jobs/");
      }}
    >
      <input className="input mono" style={{ width: 280 }} aria-label="Id of a job" placeholder="Id of a job" value={text} onChange={(event) => setText(event.target.value)} />
      <button type="submit" className="button">
        <Icon name="search" size={14} />
        Find
      </button>
    </form>
  );
}
