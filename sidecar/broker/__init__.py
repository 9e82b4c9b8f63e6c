"""Rung 2: RabbitMQ, and the in-process broker with the same interface. The only room that speaks AMQP."""
