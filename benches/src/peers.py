"""One shape of work with one peer, each step durable in SQLite. Prints the seconds that it took."""

import asyncio
import concurrent.futures
import operator
import sqlite3
import sys
import tempfile
import time
from typing import Annotated, TypedDict

peer, shape = sys.argv[1:]
runs, steps = {"sequential": (1, 1000), "parallel": (1, 1000), "runs": (1000, 10)}[shape]
folder = tempfile.mkdtemp(dir=".")


class State(TypedDict):
    done: Annotated[int, operator.add]


def langgraph():
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import Send

    graph = StateGraph(State)
    graph.add_node("step", lambda state: {"done": 1})
    if shape == "parallel":
        graph.add_conditional_edges(START, lambda state: [Send("step", state) for _ in range(steps)])
        graph.add_edge("step", END)
    else:
        graph.add_edge(START, "step")
        graph.add_conditional_edges("step", lambda state: END if state["done"] >= steps else "step")
    connection = sqlite3.connect(folder + "/checkpoints.sqlite", check_same_thread=False)
    app = graph.compile(checkpointer=SqliteSaver(connection))

    def run(number):
        config = {"configurable": {"thread_id": str(number)}, "recursion_limit": steps + 10}
        result = app.invoke({"done": 0}, config, durability="sync")
        assert result["done"] == steps, result

    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(runs)))
    return time.monotonic() - start


def dbos():
    from dbos import DBOS

    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{folder}/dbos.sqlite", "log_level": "ERROR"})

    @DBOS.step()
    def step(number):
        return number

    @DBOS.step()
    async def step_async(number):
        return number

    @DBOS.workflow()
    def row():
        return sum(1 for number in range(steps) if step(number) == number)

    @DBOS.workflow()
    async def at_once():
        return len(await asyncio.gather(*[step_async(number) for number in range(steps)]))

    DBOS.launch()
    start = time.monotonic()
    if shape == "parallel":
        done = asyncio.run(at_once())
    else:
        handles = [DBOS.start_workflow(row) for _ in range(runs)]
        done = sum(handle.get_result() for handle in handles) // runs
    took = time.monotonic() - start
    assert done == steps, done
    DBOS.destroy()
    return took


print({"langgraph": langgraph, "dbos": dbos}[peer]())
