"""An application under New Relic's agent in its developer mode, which sends nothing; it answers what the agent knows."""
import json
from pathlib import Path

import newrelic.agent
from newrelic.core.environment import environment_settings

newrelic.agent.initialize(str(Path(__file__).with_name("newrelic.ini")))
newrelic.agent.register_application(timeout=10)


@newrelic.agent.wsgi_application()
def application(environ, start_response):
    transaction = newrelic.agent.current_transaction()
    known = {"name": transaction.name, "environment": {key: str(value) for key, value in environment_settings()}}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(known).encode()]
